//! Why a category declines.

use crate::refusal::refusals;

refusals! {
    /// Refusals around categories.
    CategoryRefusal {
        UnknownCategory = Unknown, "unknown-category", "there is no such category in this family";
        NameTaken = Rule, "category-name-taken", "the family already has a category of this name and kind";
        WrongKind { wanted: &'static str } = Rule, "wrong-category-kind", "this needs an {wanted} category";
        NoEntryOfIt = Rule, "category-not-in-entry", "the entry has no posting in that category";
    }
}
