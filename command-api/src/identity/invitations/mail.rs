//! An invitation that goes to an address: what is kept of the address, and how many mails there may be.

use service_kit::problem::Problem;
use sqlx::PgConnection;

use super::super::{Identity, IdentityError, secret::keyed_hash};

/// Mails that one family may have sent in a day.
const FAMILY_MAILS_PER_DAY_MAX: i64 = 20;
/// Mails that one family may have sent to the same address in a day: strangers do not use up what others need.
const FAMILY_MAILS_PER_ADDRESS_MAX: i64 = 3;
/// Mails that one address is sent in a day, whoever asks for them.
const ADDRESS_MAILS_PER_DAY_MAX: i64 = 12;

/// An address somebody is invited at.
pub(in super::super) struct Address {
    /// The address itself, for the mail; not kept.
    pub email: String,
    /// Tells it again.
    pub hash: [u8; 32],
    /// What parents see of it.
    pub shown: String,
}

impl Address {
    pub(super) fn new(identity: &Identity, email: String) -> Self {
        Self {
            hash: hash(identity, &email),
            shown: shown(&email),
            email,
        }
    }
}

/// Tells an address again without keeping it.
pub(in super::super) fn hash(identity: &Identity, email: &str) -> [u8; 32] {
    keyed_hash(identity.invited_key(), &[email.as_bytes()])
}

/// The first letter and where it is: enough to tell one invitation from another.
fn shown(email: &str) -> String {
    let (name, host) = email.rsplit_once('@').unwrap_or((email, ""));
    let first: String = name.chars().take(1).collect();
    format!("{first}…@{host}")
}

/// Whether a mail to the address may be sent now. Who invites is told when it may not, or nobody would learn why the invited person
/// never comes; that others write to the address too is all they learn of it.
///
/// # Errors
/// 429 when the family has sent, or the address was sent, as many as may be today.
pub(super) async fn may_be_sent(family: uuid::Uuid, address: &Address, tx: &mut PgConnection) -> Result<(), Problem> {
    // One at a time for an address, whichever families ask.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 0))")
        .bind(address.hash)
        .execute(&mut *tx)
        .await
        .map_err(IdentityError::Database)?;
    let (of_family, of_family_to_address, to_address): (i64, i64, i64) = sqlx::query_as(
        "select
             count(*) filter (where family_id = $1),
             count(*) filter (where family_id = $1 and sent_to = $2),
             count(*) filter (where sent_to = $2)
         from identity.invitations
         where sent_to is not null
             and (family_id = $1 or sent_to = $2)
             and created_at > clock_timestamp() - interval '1 day'",
    )
    .bind(family)
    .bind(address.hash)
    .fetch_one(tx)
    .await
    .map_err(IdentityError::Database)?;
    if of_family >= FAMILY_MAILS_PER_DAY_MAX {
        return Err(Problem::too_fast(
            60 * 60,
            format!("a family sends {FAMILY_MAILS_PER_DAY_MAX} invitations by mail in a day; pass on a code instead"),
        ));
    }
    if of_family_to_address >= FAMILY_MAILS_PER_ADDRESS_MAX || to_address >= ADDRESS_MAILS_PER_DAY_MAX {
        return Err(Problem::too_fast(
            60 * 60,
            "this address is sent no more invitations today; pass on a code instead",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_its_first_letter_and_host() {
        assert_eq!(shown("grandma@example.org"), "g…@example.org");
        assert_eq!(shown("ö@example.org"), "ö…@example.org");
    }
}
