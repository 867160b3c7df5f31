//! How long identity keeps what is over, in one list; `docs/privacy.md` tells the same terms to people.
//!
//! Every line removes rows whose term is over, some at once, so that a backlog holds up nothing; the rest goes a minute later. The
//! order matters in one place: a closed account's number goes after the last of its sessions.

use sqlx::PgPool;

/// Rows that one line removes at once.
const AT_ONCE: i32 = 10_000;

/// Something that is kept for a term.
struct Term {
    /// What is kept, as its name in logs and metrics.
    of: &'static str,
    /// Removes it; `$1` is how many rows at most.
    sql: &'static str,
}

const TERMS: &[Term] = &[
    Term {
        of: "pairings",
        sql: "delete from identity.pairings
              where pairing_id in (
                  select pairing_id from identity.pairings where expires_at < clock_timestamp() limit $1
              )",
    },
    Term {
        of: "device-challenges",
        sql: "delete from identity.device_challenges
              where challenge_hash in (
                  select challenge_hash from identity.device_challenges where expires_at < clock_timestamp() limit $1
              )",
    },
    Term {
        of: "passkey-challenges",
        sql: "delete from identity.passkey_challenges
              where challenge_hash in (
                  select challenge_hash from identity.passkey_challenges where expires_at < clock_timestamp() limit $1
              )",
    },
    Term {
        of: "pending-sign-ins",
        sql: "delete from identity.pending_sign_ins
              where token_hash in (
                  select token_hash from identity.pending_sign_ins where expires_at < clock_timestamp() limit $1
              )",
    },
    Term {
        of: "provider-flows",
        sql: "delete from identity.provider_flows
              where state_hash in (
                  select state_hash from identity.provider_flows where expires_at < clock_timestamp() limit $1
              )",
    },
    // Limits of messages look back a day.
    Term {
        of: "phone-codes",
        sql: "delete from identity.phone_codes
              where challenge_hash in (
                  select challenge_hash
                  from identity.phone_codes
                  where created_at < clock_timestamp() - interval '1 day'
                  limit $1
              )",
    },
    Term {
        of: "guesses",
        sql: "delete from identity.guesses
              where (guessed_at, day) in (
                  select guessed_at, day
                  from identity.guesses
                  where day < (clock_timestamp() at time zone 'UTC')::date - 1
                  limit $1
              )",
    },
    Term {
        of: "mail-tokens",
        sql: "delete from identity.mail_tokens
              where token_hash in (
                  select token_hash
                  from identity.mail_tokens
                  where expires_at < clock_timestamp() - interval '1 day'
                  limit $1
              )",
    },
    Term {
        of: "sessions",
        sql: "delete from identity.sessions
              where session_id in (
                  select session_id
                  from identity.sessions
                  where least(expires_at, revoked_at) < clock_timestamp() - interval '30 days'
                  limit $1
              )",
    },
    Term {
        of: "invitations",
        sql: "delete from identity.invitations
              where code_hash in (
                  select code_hash
                  from identity.invitations
                  where least(expires_at, joined_at) < clock_timestamp() - interval '30 days'
                  limit $1
              )",
    },
    Term {
        of: "api-keys",
        sql: "delete from identity.api_keys
              where api_key_id in (
                  select api_key_id
                  from identity.api_keys
                  where least(expires_at, ended_at) < clock_timestamp() - interval '30 days'
                  limit $1
              )",
    },
    Term {
        of: "paired-devices",
        sql: "delete from identity.paired_devices
              where device_id in (
                  select device_id
                  from identity.paired_devices
                  where revoked_at < clock_timestamp() - interval '30 days'
                  limit $1
              )",
    },
    // Browsers keep a device's cookie for 400 days.
    Term {
        of: "devices",
        sql: "delete from identity.devices
              where device_id in (
                  select device_id
                  from identity.devices
                  where last_used_at < clock_timestamp() - interval '400 days'
                  limit $1
              )",
    },
    Term {
        of: "closed-accounts",
        sql: "select identity.forget_closed_accounts($1)",
    },
    Term {
        of: "security-events",
        sql: "select identity.forget_old_security_events($1)",
    },
];

/// Removes what is over, each kind by itself: one that fails keeps no other.
pub(super) async fn run(pool: &PgPool) {
    for term in TERMS {
        match sqlx::query(term.sql).bind(AT_ONCE).execute(pool).await {
            Ok(done) => {
                metrics::counter!("kinledger_identity_forgotten_total", "of" => term.of).increment(done.rows_affected())
            }
            Err(error) => tracing::warn!(of = term.of, error = %error, "what is over cannot be removed"),
        }
    }
}
