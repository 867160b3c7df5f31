//! Letters that tell somebody of a change in how their account can be come into.
//!
//! One goes out for each change, once it is committed, to the account's address, verified or not: who reads it is who can take the
//! account back. Whoever changes things again and again, to bury the letter that counts among others, gets a few letters of each kind
//! an hour and no more; the trail of security events has all of it. An account without an address is told nothing.

use std::time::Duration;

use domain::id::UserId;
use sqlx::PgExecutor;

use super::{
    super::{Identity, security_events::Kind},
    letters::Letter,
};

/// Letters about one kind of change, to one account, in [`COUNTED_FOR`].
const LETTERS_MAX: i64 = 5;
/// Changes are counted for so long.
const COUNTED_FOR: Duration = Duration::from_secs(60 * 60);

/// A letter that waits until its change is committed.
#[must_use = "a notice that is not sent tells nobody"]
pub(in super::super) struct Notice {
    to: Option<String>,
    letter: Letter,
}

impl Notice {
    /// Of a change that was written down just before, by [`super::super::security_events::record`]; in the same transaction, where
    /// there is one.
    pub async fn of(
        database: impl PgExecutor<'_>,
        kind: Kind,
        user_id: UserId,
        letter: Letter,
    ) -> Result<Self, sqlx::Error> {
        let to: Option<(Option<String>,)> = sqlx::query_as(
            "select email
             from identity.users
             where user_id = $1
                 and (
                     select count(*)
                     from (
                         select 1
                         from identity.security_events
                         where user_id = $1
                             and kind = $2
                             and occurred_at > clock_timestamp() - make_interval(secs => $3)
                         limit $4 + 1
                     ) as lately
                 ) <= $4",
        )
        .bind(user_id.uuid())
        .bind(kind.as_str())
        .bind(COUNTED_FOR.as_secs_f64())
        .bind(LETTERS_MAX)
        .fetch_optional(database)
        .await?;
        Ok(Self {
            to: to.and_then(|(email,)| email),
            letter,
        })
    }

    /// Puts the letter in; call it once the transaction is committed.
    pub fn send(self, identity: &Identity) {
        if let Some(to) = self.to {
            identity.postbox().post(&to, self.letter);
        }
    }
}
