//! Work that is done behind an answer, so that the answer neither waits for it nor tells what came of it.
//!
//! Whether an address has an account must not be read from how long asking for a reset takes. So the request only puts an errand
//! into a bounded queue, in the same time for every address; a task looks the account up and writes the letter. A full queue
//! drops the errand, for every address alike.

use std::{sync::Arc, time::Duration};

use domain::id::UserId;
use sqlx::PgPool;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use uuid::Uuid;

use super::{
    super::{
        IdentityError,
        security_events::{self, Kind, SecurityEvent},
    },
    letters,
    mail_tokens::{self, Asker, Purpose},
    postbox::Postbox,
    verify_email,
};

/// Errands that may wait.
const QUEUED_MAX: usize = 1_000;

/// What to do. It holds a password's hash, so it has no `Debug`.
pub(in super::super) enum Errand {
    /// Somebody asks to reset the password of whoever has this address.
    ResetPassword {
        email: String,
        asker: Asker,
        address_hash: Option<[u8; 32]>,
    },
    /// Somebody registers where addresses have to be verified first.
    Register {
        email: String,
        display_name: String,
        password_hash: String,
        address_hash: Option<[u8; 32]>,
    },
}

/// Where errands are left.
#[derive(Clone)]
pub(in super::super) struct Errands {
    queue: Sender<Errand>,
}

impl Errands {
    /// Starts the task; it ends when the last `Errands` is dropped.
    pub fn start(pool: PgPool, postbox: Arc<Postbox>) -> Self {
        let (queue, errands) = channel(QUEUED_MAX);
        tokio::spawn(run(pool, postbox, errands));
        Self { queue }
    }

    /// Leaves one; never waits.
    pub fn leave(&self, errand: Errand) {
        if self.queue.try_send(errand).is_err() {
            metrics::counter!("kinledger_identity_errands_dropped_total").increment(1);
            tracing::warn!("an errand was dropped: too many wait already");
        }
    }
}

async fn run(pool: PgPool, postbox: Arc<Postbox>, mut errands: Receiver<Errand>) {
    while let Some(errand) = errands.recv().await {
        if let Err(error) = do_one(&pool, &postbox, errand).await {
            tracing::error!(error = %error, "an errand failed");
        }
    }
}

async fn do_one(pool: &PgPool, postbox: &Postbox, errand: Errand) -> Result<(), IdentityError> {
    match errand {
        Errand::ResetPassword {
            email,
            asker,
            address_hash,
        } => send_reset(pool, postbox, &email, address_hash, asker, |_| letters::reset_password).await,
        Errand::Register {
            email,
            display_name,
            password_hash,
            address_hash,
        } => {
            let user_id = UserId::from_uuid(Uuid::new_v4());
            let inserted = sqlx::query(
                "insert into identity.users (user_id, email, display_name, password_hash)
                 values ($1, $2, $3, $4)
                 on conflict on constraint users_email_unique do nothing",
            )
            .bind(user_id.uuid())
            .bind(&email)
            .bind(&display_name)
            .bind(&password_hash)
            .execute(pool)
            .await?;
            if inserted.rows_affected() == 0 {
                // Whoever was first may not have been the owner of the address. Whoever reads this letter is.
                let letter = |is_verified| match is_verified {
                    true => letters::already_registered,
                    false => letters::begun_before,
                };
                return send_reset(pool, postbox, &email, address_hash, Asker::Anybody, letter).await;
            }
            let event = SecurityEvent::about(Kind::Registered, user_id).from_address(address_hash);
            security_events::record(pool, event).await?;
            verify_email::send(pool, postbox, user_id, &email).await?;
            Ok(())
        }
    }
}

async fn send_reset(
    pool: &PgPool,
    postbox: &Postbox,
    email: &str,
    address_hash: Option<[u8; 32]>,
    asker: Asker,
    letter: impl Fn(bool) -> fn(&str, &str, Duration) -> letters::Letter,
) -> Result<(), IdentityError> {
    let account: Option<(Uuid, bool)> =
        sqlx::query_as("select user_id, email_verified_at is not null from identity.users where email = $1")
            .bind(email)
            .fetch_optional(pool)
            .await?;
    let Some((user_id, is_verified)) = account else {
        return Ok(());
    };
    let user_id = UserId::from_uuid(user_id);
    let mut tx = pool.begin().await?;
    let Some(token) = mail_tokens::make_in_tx(&mut tx, Purpose::ResetPassword, user_id, email, asker).await? else {
        return Ok(());
    };
    let event = SecurityEvent::about(Kind::PasswordResetAsked, user_id).from_address(address_hash);
    security_events::record(&mut *tx, event).await?;
    tx.commit().await?;
    let link = postbox.link("reset-password", &token);
    let letter = letter(is_verified);
    postbox.post(email, letter(&link, &token, Purpose::ResetPassword.valid_for()));
    Ok(())
}
