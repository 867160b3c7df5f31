//! Configuration that would protect nobody is refused at the start, with words that say what to do instead.
//!
//! What cannot be told from here is the operator's: whether a password is known to others, and who reaches the ports of the
//! database. On this machine (loopback, a Unix socket) passwords are the operator's own matter.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use sqlx::PgPool;
use url::Url;

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

/// How addresses of Redis begin.
const OF_REDIS: [&str; 7] = [
    "redis",
    "redis+unix",
    "rediss",
    "unix",
    "valkey",
    "valkey+unix",
    "valkeys",
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
    let (bare, name) = (letters(&password), letters(&user));
    let distinct: std::collections::BTreeSet<char> = password.chars().collect();
    let reason = if TRIVIAL.contains(&bare.as_str()) || TRIVIAL.iter().any(|word| bare == word.repeat(2)) {
        "is one of those tried first"
    } else if !name.is_empty() && bare == name {
        "is the name of its login"
    } else if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        "is shorter than 12 characters"
    } else if distinct.len() < 5 {
        "repeats a few characters"
    } else {
        return Ok(());
    };
    bail!("the password of {what} {reason}, and {host} is not this machine: `openssl rand -hex 24` makes a good one")
}

/// What is left of a word without digits and signs around and between its letters.
fn letters(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphabetic);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Login, password and host of an address, as whoever connects by it reads them; none without a password.
fn parts(address: &str) -> Option<(String, String, String)> {
    let url = Url::parse(address).ok()?;
    let mut user = plain(url.username());
    let mut password = plain(url.password().unwrap_or_default());
    let mut host = plain(url.host_str().unwrap_or_default());
    // Postgres may be told each of them after the question mark, where the last word counts, and by variables of its own, which
    // count where the address is silent. Redis reads neither.
    if !OF_REDIS.contains(&url.scheme()) {
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "user" => user = value.into_owned(),
                "password" => password = value.into_owned(),
                "host" | "hostaddr" => host = value.into_owned(),
                _ => {}
            }
        }
        for (said, names) in [
            (&mut user, ["PGUSER"].as_slice()),
            (&mut password, &["PGPASSWORD"]),
            (&mut host, &["PGHOSTADDR", "PGHOST"]),
        ] {
            if said.is_empty() {
                *said = names
                    .iter()
                    .find_map(|name| std::env::var(name).ok())
                    .unwrap_or_default();
            }
        }
    }
    (!password.is_empty()).then(|| (user, password, host.trim_matches(['[', ']']).to_owned()))
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
            for socket in [
                format!("postgres:///kinledger?host=%2Frun%2Fpostgresql&user=ledger_app&password={weak}"),
                format!("postgres://ledger_app:{weak}@%2Frun%2Fpostgresql/kinledger"),
            ] {
                assert!(refuse_weak_password("DATABASE_URL", &socket).is_ok(), "{socket}");
            }
        }
    }

    #[test]
    fn a_password_is_found_wherever_the_database_would_be_told_it() {
        for address in [
            "postgres://kinledger_service@db.example.org/kinledger?password=postgres",
            "postgres://kinledger_service@db.example.org/kinledger?sslmode=require&password=postgres",
            "postgresql://db.example.org/kinledger?user=kinledger_service&password=kinledger_service",
            "postgres://kinledger_service@db.example.org/kinledger?user=ledger_app&password=ledger_app",
            "postgres://kinledger_service@db.example.org/kinledger?p%61ssword=p%6Fstgres",
            "postgres://kinledger_service@db.example.org/kinledger?password=change+me",
            "postgres:///kinledger?host=db.example.org&user=kinledger_service&password=postgres",
            "postgres://localhost/kinledger?hostaddr=10.0.0.7&password=postgres",
            "postgres://localhost/kinledger?h%6Fst=10.0.0.7&password=postgres",
            // The word after the question mark counts, and the last of them.
            "postgres://kinledger_service:1f8c0b7a9e6d5c4b3a29181716151413@db.example.org/kinledger?password=postgres",
            "postgres://db.example.org/kinledger?password=1f8c0b7a9e6d5c4b3a29181716151413&password=postgres",
            "postgres://localhost/kinledger?host=localhost&host=10.0.0.7&password=postgres",
            "p\tostgres://ledger_app:postgres@db.example.org/kinledger",
            // Which says nothing to Redis.
            "redis://:password@redis.example.org:6379?host=localhost",
        ] {
            let refused = refuse_weak_password("it", address).expect_err(address).to_string();
            assert!(refused.contains("not this machine"), "{refused}");
        }
        for address in [
            "postgres://kinledger_service:postgres@db.example.org/kinledger?password=1f8c0b7a9e6d5c4b3a29181716151413",
            "postgres://db.example.org/kinledger?password=postgres&host=127.0.0.1",
            "postgres://db.example.org/kinledger?password=",
        ] {
            assert!(refuse_weak_password("it", address).is_ok(), "{address}");
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
