//! The list of every command a client may post, one line each: HTTP, OpenAPI and authorisation follow from it.

use schemars::Schema;

use crate::{
    actor::Role,
    bank_connection::commands::*,
    budget::commands::*,
    category::commands::*,
    chore::commands::*,
    decide::{Context, Decide, Decision, Stop, decide},
    entry::commands::*,
    family::commands::*,
    inbox::commands::*,
    ledger_account::commands::*,
    rewards::commands::*,
    statement_import::commands::*,
};

/// A command of any type, parsed and ready to be decided as often as needed.
pub trait AnyCommand: Send + Sync {
    /// Its name in the URL.
    fn name(&self) -> &'static str;
    /// Does it bring the family into being?
    fn creates_family(&self) -> bool;
    /// The command as JSON in one canonical form: two bodies that say the same give the same bytes.
    fn canonical(&self) -> Vec<u8>;
    /// Events or a refusal; see [`Decide::decide`].
    ///
    /// # Errors
    /// As [`Decide::decide`].
    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop>;
}

impl<C: Decide> AnyCommand for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn creates_family(&self) -> bool {
        C::CREATES_FAMILY
    }

    fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("commands hold nothing that JSON cannot say")
    }

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        decide(self, context)
    }
}

/// How a body becomes a command.
pub type Parse = fn(&str) -> Result<Box<dyn AnyCommand>, serde_json::Error>;

/// One line of the list.
pub struct CommandKind {
    /// The name in the URL, kebab-case.
    pub name: &'static str,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// Roles that may ask; empty when no membership is asked for.
    pub allowed: &'static [Role],
    /// The body's JSON Schema.
    pub schema: fn() -> Schema,
    /// Reads a body.
    pub parse: Parse,
}

macro_rules! commands {
    ($($command:ident,)+) => {
        /// Every command a client may post, by name.
        pub const COMMANDS: &[CommandKind] = &[$(
            CommandKind {
                name: <$command as Decide>::NAME,
                summary: <$command as Decide>::SUMMARY,
                allowed: <$command as Decide>::ALLOWED,
                schema: || schemars::schema_for!($command),
                parse: |body| Ok(Box::new(serde_json::from_str::<$command>(body)?)),
            },
        )+];
    };
}

commands! {
    AddCategory,
    AddExpense,
    AddIncome,
    AddMember,
    ApproveChore,
    AwardBadge,
    ChangeRole,
    ChooseLeaderboard,
    ClaimChore,
    CloseAccount,
    CompleteChore,
    ConnectBank,
    CreateFamily,
    MarkNotificationsRead,
    OfferChore,
    OpenAccount,
    RecategoriseEntry,
    RejectChore,
    ReverseEntry,
    SetBudget,
    SyncBank,
    Transfer,
    UndoImport,
}

/// The command of a name.
pub fn find(name: &str) -> Option<&'static CommandKind> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique_and_sorted() {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(
            names
                .iter()
                .all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        );
    }
}
