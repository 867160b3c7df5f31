//! Which: typed identifiers, one kind per noun, printed with a prefix people can read (`fam_…`).
//!
//! Inside an id is a UUID. JSON and URLs accept both the prefixed form and the bare UUID; we always print the prefixed
//! form, so a wallet's id pasted where an entry's is wanted is refused instead of misread.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Text that is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an id like {prefix}_<uuid>")]
pub struct IdError {
    /// The prefix that was wanted.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What the printed form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that is known to name this kind of thing.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID, as stored in the database.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bare = match text.split_once('_') {
                    Some(($prefix, bare)) => bare,
                    Some(_) => return Err(IdError { prefix: $prefix }),
                    None => text,
                };
                Uuid::try_parse(bare).map(Self).map_err(|_| IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^(", $prefix, "_)?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"),
                    "examples": [concat!($prefix, "_01890a5d-ac96-774b-bcce-b302099a8057")]
                })
            }
        }
    )+};
}

ids! {
    /// A family: the tenant, and the owner of one ledger.
    FamilyId = "fam";
    /// A person's place in one family.
    MemberId = "mem";
    /// A person who signs in; may be a member of several families.
    UserId = "usr";
    /// A ledger account of the family's own: bank, cash, card or wallet.
    AccountId = "acc";
    /// An income or expense category, itself a ledger account.
    CategoryId = "cat";
    /// A journal entry: a balanced whole of postings.
    EntryId = "ent";
    /// A budget for one category.
    BudgetId = "bud";
    /// A chore on offer.
    ChoreId = "cho";
    /// A badge once awarded.
    AwardId = "awd";
    /// A connection to a bank through a provider.
    ConnectionId = "con";
    /// One import of one statement.
    ImportId = "imp";
    /// A request to spend beyond a limit.
    SpendingRequestId = "req";
    /// A command, named by its `Idempotency-Key`.
    CommandId = "cmd";
}

impl CategoryId {
    /// The id of a family's category of this kind and name, letter case aside: a name leads to its category without a search.
    pub fn of_name(family: FamilyId, kind: crate::category::CategoryKind, name: &str) -> Self {
        let name = format!("category/{}/{}", kind.as_str(), name.trim().to_lowercase());
        Self(Uuid::new_v5(&family.uuid(), name.as_bytes()))
    }
}

impl ConnectionId {
    /// The id of the one bank connection an account has.
    pub fn of_account(account: AccountId) -> Self {
        Self(Uuid::new_v5(&account.uuid(), b"bank-connection"))
    }
}

impl BudgetId {
    /// The id of the one budget a category has for a kind of period.
    pub fn of(category: CategoryId, period: crate::calendar::Period) -> Self {
        Self(Uuid::new_v5(
            &category.uuid(),
            format!("budget/{}", period.as_str()).as_bytes(),
        ))
    }
}

impl EntryId {
    /// The id of the nth bank transaction of this amount on this day in this account: the same row always has the same id.
    pub fn of_bank_row(
        account: AccountId,
        booked_on: chrono::NaiveDate,
        amount: &crate::Money,
        occurrence: u32,
    ) -> Self {
        let name = format!("bank-row/{booked_on}/{amount}/{occurrence}");
        Self(Uuid::new_v5(&account.uuid(), name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_both_forms() {
        let id = FamilyId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<FamilyId>(), Ok(id));
        assert_eq!(id.uuid().to_string().parse::<FamilyId>(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = FamilyId::from_uuid(Uuid::from_u128(7));
        assert!(id.to_string().parse::<AccountId>().is_err());
    }
}
