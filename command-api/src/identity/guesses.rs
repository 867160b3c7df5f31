//! A hundred wrong passwords a day, however they are spread over hours, addresses, processes and restarts.
//!
//! Beside the pace that `throttle` keeps in memory, each guess is counted in the database before it is looked at; a right one is
//! taken back. Who is a stranger shares one count for an account, whatever their address. A device that the owner signed in on
//! before has a count of its own: a stranger who uses up theirs does not lock the owner out of it. So has each session, at the
//! password and, apart from it, at the codes of an authenticator app: whoever steals one guesses with it. A network address that
//! the owner was at has none: who shares it could read from it who has an account. Addresses without an account are counted alike,
//! so the answer tells nothing.

use service_kit::problem::Problem;
use sqlx::PgPool;
use uuid::Uuid;

use super::{IdentityError, secret::keyed_hash};

/// Guesses looked at in a day. Source: `docs/adr/0032`.
const GUESSES_PER_DAY_MAX: i32 = 100;

/// Who guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guesser {
    /// Somebody on a device that has signed in to the account.
    Device(Uuid),
    /// Somebody in a session of the account.
    Session(Uuid),
    /// Anybody else.
    Stranger,
}

/// The counts, shared by all processes.
#[derive(Clone)]
pub(super) struct Guesses {
    pool: PgPool,
    key: [u8; 32],
}

/// One counted guess. Kept, it stays counted.
pub(super) struct Guess {
    guesses: Guesses,
    at: [u8; 32],
}

impl Guesses {
    pub fn new(pool: PgPool, key: [u8; 32]) -> Self {
        Self { pool, key }
    }

    /// Counts a guess at what `subject` protects, before it is looked at.
    ///
    /// # Errors
    /// 429 until midnight (UTC) when the day's guesses are used up.
    pub async fn count(&self, subject: &str, guesser: Guesser) -> Result<Guess, Problem> {
        let at = match guesser {
            Guesser::Device(device_id) => keyed_hash(&self.key, &[subject.as_bytes(), b"device", device_id.as_bytes()]),
            Guesser::Session(session_id) => {
                keyed_hash(&self.key, &[subject.as_bytes(), b"session", session_id.as_bytes()])
            }
            Guesser::Stranger => keyed_hash(&self.key, &[subject.as_bytes(), b"stranger"]),
        };
        let counted = sqlx::query(
            "insert into identity.guesses (guessed_at, day, guesses)
             values ($1, (clock_timestamp() at time zone 'UTC')::date, 1)
             on conflict (guessed_at, day) do update
             set guesses = identity.guesses.guesses + 1
             where identity.guesses.guesses < $2",
        )
        .bind(at)
        .bind(GUESSES_PER_DAY_MAX)
        .execute(&self.pool)
        .await
        .map_err(IdentityError::Database)?;
        if counted.rows_affected() == 1 {
            return Ok(Guess {
                guesses: self.clone(),
                at,
            });
        }
        let (seconds,): (i32,) = sqlx::query_as(
            "select ceil(extract(epoch from
                 date_trunc('day', clock_timestamp() at time zone 'UTC') + interval '1 day'
                     - (clock_timestamp() at time zone 'UTC')
             ))::integer",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(IdentityError::Database)?;
        let detail = match guesser {
            Guesser::Session(_) => "too many attempts in this session today; sign in again, or try again tomorrow",
            Guesser::Device(_) | Guesser::Stranger => {
                "too many attempts today; try again tomorrow, sign in on a device you used before, or reset the password"
            }
        };
        Err(Problem::too_fast(u32::try_from(seconds).unwrap_or(1).max(1), detail))
    }

    /// Strangers' guesses at the password of before count no longer. If that cannot be written now, they stay until midnight.
    pub async fn forgive_strangers(&self, subject: &str) {
        let forgiven = sqlx::query("delete from identity.guesses where guessed_at = $1")
            .bind(keyed_hash(&self.key, &[subject.as_bytes(), b"stranger"]))
            .execute(&self.pool)
            .await;
        if let Err(error) = forgiven {
            tracing::warn!(error = %error, "guesses at a password that was reset stay counted");
        }
    }
}

impl Guess {
    /// The guess was right, or was never looked at. If it cannot be taken back now, it stays counted: one of a hundred.
    pub async fn take_back(self) {
        let taken = sqlx::query(
            "update identity.guesses
             set guesses = guesses - 1
             where guessed_at = $1 and day = (clock_timestamp() at time zone 'UTC')::date and guesses > 0",
        )
        .bind(self.at)
        .execute(&self.guesses.pool)
        .await;
        if let Err(error) = taken {
            tracing::warn!(error = %error, "what was right stays counted as a guess");
        }
    }
}
