//! Devices: where somebody signed in before.
//!
//! A device gets a token of its own with its first session, and shows it when it signs in and refreshes: as the header
//! `Kinledger-Device`, or, in a browser, as a cookie that no script reads. It opens nothing by itself. It tells that a sign-in is
//! not from a new device, keeps strangers' guesses from slowing the owner, and lets two tabs of one browser refresh at one moment.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::id::UserId;
use service_kit::auth::SignedIn;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    Identity,
    account::letters,
    address::Client,
    secret::keyed_hash,
    security_events::{self, Kind, SecurityEvent},
    sessions::{Tokens, hash_of},
};

/// The header a device shows its token in.
pub(super) const DEVICE_HEADER: &str = "kinledger-device";
/// The cookie a browser shows it in, with a mark of the account behind it, so that people who share a browser keep one each; those
/// of before have none. Its prefix makes browsers refuse it without `Secure`.
const DEVICE_COOKIE: &str = "__Secure-kinledger-device";
/// Bytes of that mark.
const MARK_BYTES: usize = 8;
/// Cookies of a request that are looked at, the last ones first: more than people share a browser.
const COOKIES_MAX: usize = 32;
/// Browsers keep a cookie for 400 days at most.
const COOKIE_SECONDS: u32 = 400 * 24 * 60 * 60;
/// What a device token begins with, so that one that leaked into a file can be found.
const TOKEN_PREFIX: &str = "kld_";
/// Longest text that is looked up as a device token, in bytes.
const TOKEN_BYTES_MAX: usize = 128;
/// Devices remembered of one person; one more forgets the one used least lately.
pub(super) const DEVICES_MAX: i64 = 100;

/// The device of a session that is being opened.
pub(super) struct Opened {
    pub device_id: Uuid,
    /// For a device that is seen for the first time: its token, and whom to tell of it.
    pub token: Option<String>,
    /// The owner's address, when they have other devices already.
    pub tell: Option<String>,
}

/// What a device shows, hashed; the tokens themselves are kept nowhere.
pub(super) fn shown(headers: &HeaderMap) -> Vec<[u8; 32]> {
    let given = headers.get(DEVICE_HEADER).and_then(|value| value.to_str().ok());
    let tokens = given.map_or_else(|| cookies(headers), |token| vec![token]);
    let is_possible = |token: &&str| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    tokens.into_iter().filter(is_possible).map(hash_of).collect()
}

fn cookies(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| is_device_cookie(name))
        .map(|(_, value)| value)
        .rev()
        .take(COOKIES_MAX)
        .collect()
}

fn is_device_cookie(name: &str) -> bool {
    name.strip_prefix(DEVICE_COOKIE)
        .is_some_and(|mark| mark.is_empty() || mark.starts_with('-'))
}

/// The cookie that makes a browser keep the token of a new device, beside those of other accounts.
pub(super) fn set_cookie(identity: &Identity, tokens: &Tokens) -> Option<HeaderValue> {
    let token = tokens.device_token.as_deref()?;
    let mark = keyed_hash(identity.device_cookie_key(), &[tokens.user_id.uuid().as_bytes()]);
    let mark = hex::encode(&mark[..MARK_BYTES]);
    let text = format!(
        "{DEVICE_COOKIE}-{mark}={token}; Path=/api/v1/auth; Max-Age={COOKIE_SECONDS}; HttpOnly; Secure; SameSite=Strict"
    );
    HeaderValue::from_str(&text).ok()
}

/// The device for a session that is being opened: the one that the request shows, or a new one.
pub(super) async fn open_in_tx(
    tx: &mut PgConnection,
    user_id: UserId,
    client: &Client,
    session_id: Uuid,
    address_hash: Option<[u8; 32]>,
) -> Result<Opened, sqlx::Error> {
    let known: Option<(Uuid,)> = sqlx::query_as(
        "update identity.devices
         set last_used_at = clock_timestamp()
         where device_id = (
             select device_id
             from identity.devices
             where user_id = $1 and token_hash = any($2)
             order by last_used_at desc
             limit 1
         )
         returning device_id",
    )
    .bind(user_id.uuid())
    .bind(&client.device_hashes)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some((device_id,)) = known {
        return Ok(Opened {
            device_id,
            token: None,
            tell: None,
        });
    }
    let device_id = Uuid::new_v4();
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let (email, has_others): (Option<String>, bool) = sqlx::query_as(
        "with made as (
             insert into identity.devices (device_id, user_id, token_hash, name)
             values ($1, $2, $3, $4)
         ), forgotten as (
             delete from identity.devices
             where device_id in (
                 select device_id
                 from identity.devices
                 where user_id = $2
                 order by last_used_at desc
                 offset $5
             )
         )
         select email, exists (select 1 from identity.devices where user_id = $2)
         from identity.users
         where user_id = $2",
    )
    .bind(device_id)
    .bind(user_id.uuid())
    .bind(hash_of(&token))
    .bind(&client.device)
    .bind(DEVICES_MAX - 1)
    .fetch_one(&mut *tx)
    .await?;
    if has_others {
        let event = SecurityEvent::about(Kind::NewDevice, user_id)
            .in_session(session_id)
            .from_address(address_hash)
            .with("device", client.device.as_str());
        security_events::record(&mut *tx, event).await?;
    }
    Ok(Opened {
        device_id,
        token: Some(token),
        tell: email.filter(|_| has_others),
    })
}

/// The device that a request shows, if it signed in to the account with this address before. For somebody without such a device it
/// is the same work whether or not there is an account.
pub(super) async fn known(pool: &PgPool, email: &str, client: &Client) -> Result<Option<Uuid>, sqlx::Error> {
    if client.device_hashes.is_empty() {
        return Ok(None);
    }
    let row: Option<(Uuid,)> = sqlx::query_as(
        "select device_id
         from identity.devices
         join identity.users on users.user_id = devices.user_id
         where devices.token_hash = any($1) and users.email = $2
         order by devices.last_used_at desc
         limit 1",
    )
    .bind(&client.device_hashes)
    .bind(email)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(device_id,)| device_id))
}

/// The person's device whose token a request shows.
pub(super) async fn shown_in_tx(
    tx: &mut PgConnection,
    client: &Client,
    user_id: UserId,
) -> Result<Option<Uuid>, sqlx::Error> {
    let row: Option<(Uuid,)> = sqlx::query_as(
        "select device_id
         from identity.devices
         where user_id = $1 and token_hash = any($2)
         order by last_used_at desc
         limit 1",
    )
    .bind(user_id.uuid())
    .bind(&client.device_hashes)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(device_id,)| device_id))
}

/// The device that asks: the person's one that the request shows, else the one that its session was opened on.
pub(super) async fn asking_in_tx(
    tx: &mut PgConnection,
    client: &Client,
    signed_in: &SignedIn,
) -> Result<Option<Uuid>, sqlx::Error> {
    if let Some(device_id) = shown_in_tx(&mut *tx, client, signed_in.user_id).await? {
        return Ok(Some(device_id));
    }
    let row: Option<(Option<Uuid>,)> =
        sqlx::query_as("select device_id from identity.sessions where session_id = $2 and user_id = $1")
            .bind(signed_in.user_id.uuid())
            .bind(signed_in.session_id)
            .fetch_optional(tx)
            .await?;
    Ok(row.and_then(|(device_id,)| device_id))
}

/// Forgets every device of the person but the one that asks. Their sessions are the caller's to end.
pub(super) async fn forget_others_in_tx(
    tx: &mut PgConnection,
    client: &Client,
    signed_in: &SignedIn,
) -> Result<(), sqlx::Error> {
    let asking = asking_in_tx(&mut *tx, client, signed_in).await?;
    sqlx::query("delete from identity.devices where user_id = $1 and device_id is distinct from $2")
        .bind(signed_in.user_id.uuid())
        .bind(asking)
        .execute(tx)
        .await?;
    Ok(())
}

/// The notice about a device that was not seen before.
pub(super) fn notice() -> letters::Letter {
    letters::new_device()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_shown_by_header_or_by_cookie() {
        let by_header = shown(&headers(&[("kinledger-device", "kld_1")]));
        let by_cookie = shown(&headers(&[("cookie", "a=b; __Secure-kinledger-device=kld_1; c=d")]));
        assert_eq!(by_header.len(), 1);
        assert_eq!(by_header, by_cookie);
        let none: Vec<[u8; 32]> = Vec::new();
        assert_eq!(shown(&headers(&[("cookie", "kinledger-device=kld_1")])), none);
        assert_eq!(shown(&headers(&[("kinledger-device", "")])), none);
        assert_eq!(shown(&headers(&[("kinledger-device", &"x".repeat(200))])), none);
    }

    #[test]
    fn of_a_shared_browser_few_cookies_are_looked_at() {
        let one = |number: u8| format!("{DEVICE_COOKIE}-{number:016x}=kld_{number}");
        let all: Vec<String> = (0..40).map(one).collect();
        let looked_at = shown(&headers(&[("cookie", &all.join("; "))]));
        let expected: Vec<_> = (8..40).rev().map(|number| hash_of(&format!("kld_{number}"))).collect();
        assert_eq!(looked_at, expected);
        let before = format!("{DEVICE_COOKIE}=kld_0; {DEVICE_COOKIE}x=kld_9; {}", one(1));
        assert_eq!(
            shown(&headers(&[("cookie", &before)])),
            [hash_of("kld_1"), hash_of("kld_0")]
        );
    }
}
