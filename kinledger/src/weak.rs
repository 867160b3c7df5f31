//! Configuration that would protect nobody is refused at the start, with words that say what to do instead.
//!
//! What cannot be told from here is the operator's: whether a password is known to others, and who reaches the ports of the
//! database. On this machine (loopback, a Unix socket) passwords are the operator's own matter.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use sqlx::PgPool;

/// Shortest password of a server that is reached over a network, in characters.
const PASSWORD_CHARACTERS_MIN: usize = 12;
/// Passwords that are tried first, as they are or with digits and signs around them.
const TRIVIAL: [&str; 24] = [
    "admin",
    "administrator",
    "change",
    "changeit",
    "changeme",
    "changethis",
    "default",
    "example",
    "insecure",
    "kinledger",
    "letmein",
    "master",
    "pass",
    "passw0rd",
    "password",
    "placeholder",
    "postgres",
    "postgresql",
    "qwerty",
    "redis",
    "root",
    "secret",
    "supersecret",
    "test",
];

/// Refuses a server's address whose password anybody would guess, unless the server is on this machine. `what` names the setting.
///
/// # Errors
/// When it is weak; the password is not repeated.
pub fn refuse_weak_password(what: &str, address: &str) -> Result<()> {
    let Some((user, password, host)) = parts(address) else {
        return Ok(());
    };
    if is_here(&host) {
        return Ok(());
    }
    let bare: String = password
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphabetic())
        .collect();
    let distinct: std::collections::BTreeSet<char> = password.chars().collect();
    let reason = if TRIVIAL.contains(&bare.as_str()) || TRIVIAL.iter().any(|word| bare == word.repeat(2)) {
        "is one of those tried first"
    } else if !user.is_empty() && bare == user.to_lowercase() {
        "is the name of its login"
    } else if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        "is shorter than 12 characters"
    } else if distinct.len() < 5 {
        "repeats a few characters"
    } else {
        return Ok(());
    };
    bail!("the password in {what} {reason}, and {host} is not this machine: `openssl rand -hex 24` makes a good one")
}

/// Login, password and host of `scheme://login:password@host:port/…`; none without a password.
fn parts(address: &str) -> Option<(String, String, String)> {
    let rest = address.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, host) = authority.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    if password.is_empty() {
        return None;
    }
    // Postgres may name its host after the question mark, which then counts.
    let named = rest.split_once('?').and_then(|(_, query)| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("host=").or_else(|| pair.strip_prefix("hostaddr=")))
    });
    let host = match (named, host.rsplit_once(':')) {
        (Some(named), _) => plain(named),
        (None, Some((host, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => plain(host),
        (None, _) => plain(host),
    };
    Some((plain(user), plain(password), host.trim_matches(['[', ']']).to_owned()))
}

/// Percent signs read out.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| hex::decode(digits).ok());
        match escaped.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_here(host: &str) -> bool {
    let is_loopback = || {
        host.parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
    };
    host.is_empty() || host == "localhost" || host.starts_with('/') || is_loopback()
}

/// Refuses a login that row-level security does not bind: a service stepping down from it could step up again.
///
/// # Errors
/// When the login is a superuser or bypasses row-level security, or the database does not say.
pub async fn refuse_mighty_login(pool: &PgPool) -> Result<()> {
    let (login, is_mighty): (String, bool) = sqlx::query_as(
        "select session_user::text, rolsuper or rolbypassrls or rolreplication from pg_catalog.pg_roles where rolname = session_user",
    )
    .fetch_one(pool)
    .await
    .context("cannot look at the login of DATABASE_URL")?;
    if is_mighty {
        bail!(
            "the login '{login}' of DATABASE_URL is a superuser, bypasses row-level security, or may replicate: nothing would hold \
             a service back. Make one that may not, `create role kinledger_service login noinherit password '…'`, \
             run `kinledger migrate --service-login kinledger_service` as the owner, and name it in DATABASE_URL"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_anybody_would_guess_is_refused_unless_the_server_is_here() {
        for weak in [
            "postgres",
            "password",
            "Password123!",
            "changeme",
            "CHANGE-ME-2026",
            "secret",
            "kinledger",
            "ledger_app",
            "short",
            "aaaaaaaaaaaaaaaa",
            "121212121212121212",
            "postgrespostgres",
            "%70assword",
        ] {
            let address = |host: &str| format!("postgres://ledger_app:{weak}@{host}/kinledger");
            let refused = refuse_weak_password("DATABASE_URL", &address("db.example.org:5432")).expect_err(weak);
            assert!(!refused.to_string().contains(&format!("'{weak}'")), "{refused}");
            assert!(
                refuse_weak_password("DATABASE_URL", &address("10.0.0.7")).is_err(),
                "{weak}"
            );
            assert!(refuse_weak_password("DATABASE_URL", &format!("{}?host=10.0.0.7", address("localhost"))).is_err());
            for here in ["localhost:5432", "127.0.0.1", "[::1]:5432"] {
                assert!(
                    refuse_weak_password("DATABASE_URL", &address(here)).is_ok(),
                    "{weak} at {here}"
                );
            }
            let socket = format!("postgres://ledger_app:{weak}@/kinledger?host=%2Frun%2Fpostgresql");
            assert!(refuse_weak_password("DATABASE_URL", &socket).is_ok(), "{weak}");
        }
    }

    #[test]
    fn a_good_password_and_none_at_all_are_taken() {
        for address in [
            "postgres://kinledger_service:1f8c0b7a9e6d5c4b3a29181716151413@db:5432/kinledger",
            "redis://:1f8c0b7a9e6d5c4b3a29181716151413@redis:6379",
            "redis://redis:6379",
            "postgres://kinledger_service@db/kinledger?sslcert=client.pem",
        ] {
            assert!(refuse_weak_password("it", address).is_ok(), "{address}");
        }
    }
}
