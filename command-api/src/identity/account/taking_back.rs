//! What ends when somebody takes their account back: by another password, or by signing out everywhere.
//!
//! Whoever was in the account may have left themself ways to come back: a session elsewhere, a sign-in that waits for its second
//! step, an e-mail address that only has to be confirmed, a key for programs, a device that counts as known, an invitation to the
//! family or a pairing for an account of their own. Each of them ends here, in the transaction of what ends it, after the person's
//! row was locked: whoever makes one at the same moment locks it too.
//!
//! Known devices alone need more than a session to be forgotten: a reset, or a proof of the last ten minutes. By them an owner
//! comes in while strangers guess; whoever stole a session could otherwise make all of them unknown, use up the strangers' guesses
//! of the day, and keep the owner out.

use domain::id::UserId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{Identity, sessions},
    mail_tokens::{self, Purpose},
};

/// What has ended, for this process to refuse at once.
pub(in super::super) struct Ended {
    sessions: Vec<Uuid>,
    api_keys: Vec<Uuid>,
}

impl Ended {
    /// Refuses it here from now on; call it once the transaction is committed.
    pub fn refuse(self, identity: &Identity) {
        for session_id in self.sessions {
            identity.verifier().revoke(session_id);
        }
        for api_key_id in self.api_keys {
            identity.verifier().forget_api_key(api_key_id);
        }
    }
}

/// What another password ends: sign-ins, all but the session that chose it perhaps, and changes that were asked for.
pub(super) async fn end_sign_ins_in_tx(
    tx: &mut PgConnection,
    user_id: UserId,
    except: Option<Uuid>,
    reason: &str,
) -> Result<Ended, sqlx::Error> {
    sqlx::query("select 1 from identity.users where user_id = $1 for update")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await?;
    for purpose in [Purpose::ResetPassword, Purpose::ChangeEmail] {
        mail_tokens::end_in_tx(tx, purpose, user_id).await?;
    }
    sqlx::query("delete from identity.pending_sign_ins where user_id = $1")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await?;
    // Codes that were sent already; the rows stay, for they are counted.
    sqlx::query(
        "update identity.phone_codes
         set used_at = clock_timestamp()
         where used_at is null
             and (adds_to = $1 or number_hash in (select number_hash from identity.phones where user_id = $1))",
    )
    .bind(user_id.uuid())
    .execute(&mut *tx)
    .await?;
    Ok(Ended {
        sessions: sessions::end_all_in_tx(tx, user_id, except, reason).await?,
        api_keys: Vec::new(),
    })
}

/// What a reset and signing out everywhere end: every sign-in, keys for programs too, and nobody comes into a family any more by an
/// invitation or a pairing that was made in the account.
pub(in super::super) async fn end_all_in_tx(
    tx: &mut PgConnection,
    user_id: UserId,
    reason: &str,
) -> Result<Ended, sqlx::Error> {
    let ended = end_sign_ins_in_tx(tx, user_id, None, reason).await?;
    let api_keys: Vec<(Uuid,)> = sqlx::query_as(
        "update identity.api_keys
         set ended_at = clock_timestamp()
         where user_id = $1 and ended_at is null
         returning api_key_id",
    )
    .bind(user_id.uuid())
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "update identity.invitations
         set used_at = null, used_by = null, ended_at = clock_timestamp(), end_reason = 'revoked'
         where created_by = $1 and joined_at is null and ended_at is null and expires_at > clock_timestamp()",
    )
    .bind(user_id.uuid())
    .execute(&mut *tx)
    .await?;
    sqlx::query("delete from identity.pairings where created_by = $1")
        .bind(user_id.uuid())
        .execute(&mut *tx)
        .await?;
    Ok(Ended {
        api_keys: api_keys.into_iter().map(|(api_key_id,)| api_key_id).collect(),
        ..ended
    })
}

/// No device is known any more: for who has proven more than that they have a session.
pub(in super::super) async fn forget_devices_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from identity.devices where user_id = $1")
        .bind(user_id.uuid())
        .execute(tx)
        .await?;
    Ok(())
}

/// Removes the factors of an account whose address nobody had verified: somebody else may have made it, and waited for the owner
/// of the address to take it over.
pub(super) async fn forget_factors_in_tx(tx: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    for table in ["passkeys", "passkey_challenges", "totp_factors", "recovery_codes"] {
        sqlx::query(&format!("delete from identity.{table} where user_id = $1"))
            .bind(user_id.uuid())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
