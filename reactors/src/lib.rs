//! Events, bank data and calendar ticks to commands and messages: the process managers.
