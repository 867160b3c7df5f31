//! Every command a client may post, as the role matrix lists them: HTTP, OpenAPI and authorisation follow from it.

use schemars::Schema;
use serde::de::DeserializeOwned;

use crate::{
    access::{Row, matrix},
    bank_connection::commands::*,
    budget::commands::*,
    category::commands::*,
    chore::commands::*,
    decide::{Context, Decide, Decision, Stop, decide},
    entry::commands::*,
    family::commands::*,
    inbox::commands::*,
    ledger_account::commands::*,
    parsing::{is_way, without_values},
    rewards::commands::*,
    spending::commands::*,
    statement_import::commands::*,
};

/// A command of any type, parsed and ready to be decided as often as needed.
pub trait AnyCommand: Send + Sync {
    /// Its name in the URL.
    fn name(&self) -> &'static str;
    /// Does it bring the family into being?
    fn creates_family(&self) -> bool;
    /// Does it ask for a fresh proof of who asks? See [`crate::access::Row::step_up`].
    fn needs_step_up(&self) -> bool;
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

    fn needs_step_up(&self) -> bool {
        C::ACCESS.step_up
    }

    fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("commands hold nothing that JSON cannot say")
    }

    fn decide(&self, context: &Context<'_>) -> Result<Decision, Stop> {
        decide(self, context)
    }
}

/// How a body becomes a command.
pub type Parse = fn(&str) -> Result<Box<dyn AnyCommand>, BodyError>;

/// Why a body is none of its command: the field where there is one, and what is wrong there.
#[derive(Debug, thiserror::Error)]
#[error("{}{reason}", .field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct BodyError {
    field: Option<String>,
    reason: String,
}

/// Reads a body; one that is wrong is read a second time to learn at which field.
fn parse<C: Decide + DeserializeOwned + 'static>(body: &str) -> Result<Box<dyn AnyCommand>, BodyError> {
    match serde_json::from_str::<C>(body) {
        Ok(command) => Ok(Box::new(command)),
        Err(source) => {
            let again = serde_path_to_error::deserialize::<_, C>(&mut serde_json::Deserializer::from_str(body));
            let field = again.err().map(|error| error.path().to_string());
            Err(BodyError {
                // The body as a whole is called `.`; what is no name of ours, somebody has made up.
                field: field.filter(|path| is_way(path) && path != "."),
                reason: without_values(&source.to_string()),
            })
        }
    }
}

/// One line of the list.
pub struct CommandKind {
    /// The name in the URL, kebab-case.
    pub name: &'static str,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// Who may ask.
    pub access: &'static Row,
    /// The body's JSON Schema.
    pub schema: fn() -> Schema,
    /// Reads a body.
    pub parse: Parse,
}

macro_rules! commands {
    (commands { $($command:ident $($step_up:ident)? [$($cell:ident)+] $(of $needs:ident)? $note:literal;)+ } $($rest:tt)*) => {
        /// Every command a client may post, by name.
        pub const COMMANDS: &[CommandKind] = &[$(
            CommandKind {
                name: <$command as Decide>::NAME,
                summary: <$command as Decide>::SUMMARY,
                access: <$command as Decide>::ACCESS,
                schema: || schemars::schema_for!($command),
                parse: parse::<$command>,
            },
        )+];
    };
}
matrix!(commands);

/// The command of a name.
pub fn find(name: &str) -> Option<&'static CommandKind> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_wrong_says_at_which_field() {
        let said = |name: &str, body: &str| match (find(name).expect("a command").parse)(body) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        let id = "acc_01890a5d-ac96-774b-bcce-b302099a8057";
        let expense = |rest: &str| {
            said(
                "add-expense",
                &format!(r#"{{"account_id":"{id}","money":{{"amount":"1.00","currency":"EUR"}}{rest}}}"#),
            )
        };
        assert_eq!(expense(""), "taken");
        let place = |text: String| text.split(" at line").next().unwrap_or_default().to_owned();
        assert_eq!(
            place(expense(r#","effective_on":"2025-02-29""#)),
            "effective_on: input is out of range"
        );
        assert!(expense(r#","splits":[{"category_id":7}]"#).starts_with("splits[0].category_id: "));
        assert!(expense(r#","colour":1"#).contains("unknown field `colour`"));
        assert_eq!(
            place(expense(r#","effective_on":27491308"#)),
            "effective_on: invalid type: integer, expected a formatted date string"
        );
        assert!(!said("add-expense", r#"{"Hunter2":{}}"#).contains("unter2"));
        assert!(!said("add-expense", r#"{"account_id":"Hunter2"}"#).contains("unter2"));
        assert_eq!(place(said("add-expense", "{}")), "missing field `account_id`");
        assert_eq!(place(said("add-expense", "")), "EOF while parsing a value");
    }

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
