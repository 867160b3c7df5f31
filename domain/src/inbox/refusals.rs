//! Why the inbox declines.

use crate::refusal::refusals;

refusals! {
    /// Refusals of inbox commands.
    InboxRefusal {
        BeyondHead = Rule, "beyond-head", "the ledger has no event with that number yet";
        NothingNew = Rule, "nothing-new", "everything up to there is read already";
    }
}
