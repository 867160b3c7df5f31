//! Rows to answers: one file per view.
