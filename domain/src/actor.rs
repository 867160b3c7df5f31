//! Who asks, in which role, and when.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, FamilyId, MemberId, UserId};

/// What a member may do: [`crate::access`] has the matrix, decisions the finer rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the family: everything, including roles.
    Parent,
    /// An adult with the same view of the money, who does not change roles.
    Partner,
    /// Spends from an own wallet, claims chores.
    Teen,
    /// As a teen, with less on view.
    Child,
    /// Reads and verifies; changes nothing.
    Auditor,
}

impl Role {
    /// Every role, in the order of the matrix.
    pub const ALL: [Role; 5] = [Role::Parent, Role::Partner, Role::Teen, Role::Child, Role::Auditor];
    /// Everybody who may post commands at all.
    pub const MEMBERS: &'static [Role] = &[Role::Parent, Role::Partner, Role::Teen, Role::Child];
    /// The adults who run the household's money.
    pub const ADULTS: &'static [Role] = &[Role::Parent, Role::Partner];
    /// Whose rights are less than an adult's, and whose data are a child's.
    pub const YOUNG: &'static [Role] = &[Role::Teen, Role::Child];

    /// The word used in JSON, the database and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Parent => "parent",
            Role::Partner => "partner",
            Role::Teen => "teen",
            Role::Child => "child",
            Role::Auditor => "auditor",
        }
    }

    /// A parent or a partner.
    pub fn is_adult(self) -> bool {
        Self::ADULTS.contains(&self)
    }

    /// A teen or a child.
    pub fn is_young(self) -> bool {
        Self::YOUNG.contains(&self)
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("'{}' is no role", text.chars().take(20).collect::<String>()))
    }
}

/// A signed-in person in the role they have in the family they act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who signed in.
    pub user_id: UserId,
    /// Their membership; none only for the command that creates the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_id: Option<MemberId>,
    /// Their role at the moment of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What comes with a command beside its body. All of it is data: replaying with the same values decides the same.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The family whose ledger is asked to change.
    pub family_id: FamilyId,
    /// The client's `Idempotency-Key`; also the source of every id the decision makes.
    pub command_id: CommandId,
    /// The signed-in person. Membership and role are taken from the family's own state when the decision runs.
    pub user_id: UserId,
    /// When the service took the command in hand (UTC). Order never depends on it.
    pub at: DateTime<Utc>,
}
