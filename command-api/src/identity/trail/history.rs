//! What a family's log tells of who belonged to it when, and of changes to what its members may do.

use chrono::{DateTime, Utc};
use domain::{
    actor::Role,
    id::{AccountId, MemberId, UserId},
};

use crate::identity::security_events::Kind;

/// Who sat in which place, and what changed.
#[derive(Clone, Debug, Default)]
pub struct FamilyHistory {
    /// Every stay in a place, in the order they began.
    pub stays: Vec<Stay>,
    /// What changed, in the order of the log.
    pub changes: Vec<Change>,
}

/// Somebody in a place.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Who.
    pub user_id: UserId,
    /// Their place.
    pub member_id: MemberId,
    /// What the place's role is now, or was at the end.
    pub role: Role,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
    /// Over?
    pub has_ended: bool,
}

/// Something that the log tells about access.
#[derive(Clone, Debug)]
pub struct Change {
    /// When it was recorded (UTC).
    pub at: DateTime<Utc>,
    /// Which event of the family.
    pub family_seq: i64,
    /// What.
    pub kind: Kind,
    /// About whom.
    pub member_id: Option<MemberId>,
    /// Who did it.
    pub by: Option<MemberId>,
    /// About which account.
    pub account_id: Option<AccountId>,
    /// Roles, levels and methods, by their words.
    pub what: Vec<String>,
}

impl FamilyHistory {
    /// The stay of a person now.
    pub fn now(&self, user_id: UserId) -> Option<&Stay> {
        let mut stays = self.stays.iter().rev();
        stays.find(|stay| stay.user_id == user_id && !stay.has_ended)
    }

    /// The place a person had at a moment, or has had at any other time; none when they never had one.
    pub fn place_of(&self, user_id: UserId, at: DateTime<Utc>) -> Option<MemberId> {
        let of_them = || self.stays.iter().filter(|stay| stay.user_id == user_id);
        let then = of_them().rfind(|stay| stay.since <= at);
        then.or_else(|| of_them().next()).map(|stay| stay.member_id)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_person_is_known_by_the_place_they_had_then() {
        let (person, first, second) = (
            UserId::from_uuid(Uuid::from_u128(1)),
            MemberId::from_uuid(Uuid::from_u128(2)),
            MemberId::from_uuid(Uuid::from_u128(3)),
        );
        let stay = |member_id, since, has_ended| Stay {
            user_id: person,
            member_id,
            role: Role::Partner,
            since: at(since),
            has_ended,
        };
        let history = FamilyHistory {
            stays: vec![stay(first, 10, true), stay(second, 20, false)],
            changes: Vec::new(),
        };
        assert_eq!(
            [5, 15, 25].map(|seconds| history.place_of(person, at(seconds))),
            [Some(first), Some(first), Some(second)]
        );
        assert_eq!(history.now(person).map(|stay| stay.member_id), Some(second));
        let nobody = UserId::from_uuid(Uuid::from_u128(9));
        assert!(history.place_of(nobody, at(25)).is_none() && history.now(nobody).is_none());
    }
}
