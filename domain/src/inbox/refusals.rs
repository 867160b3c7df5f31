//! Why the inbox declines.

use crate::refusal::refusals;

refusals! {
    /// Refusals of inbox commands.
    InboxRefusal {
        NothingNew = Rule, "nothing-new", "everything up to there is read already";
    }
}
