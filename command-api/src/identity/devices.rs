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
    account::letters,
    address::Client,
    security_events::{self, Kind, SecurityEvent},
    sessions::hash_of,
};

/// The header a device shows its token in.
pub(super) const DEVICE_HEADER: &str = "kinledger-device";
/// The cookie a browser shows it in. Its prefix makes browsers refuse it without `Secure`.
const DEVICE_COOKIE: &str = "__Secure-kinledger-device";
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

/// What a device shows, hashed; the token itself is kept nowhere.
pub(super) fn shown(headers: &HeaderMap) -> Option<[u8; 32]> {
    let given = headers.get(DEVICE_HEADER).and_then(|value| value.to_str().ok());
    let token = given.or_else(|| cookie(headers))?;
    (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then(|| hash_of(token))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == DEVICE_COOKIE).then_some(value))
}

/// The cookie that makes a browser keep its token.
pub(super) fn set_cookie(token: &str) -> Option<HeaderValue> {
    let text = format!(
        "{DEVICE_COOKIE}={token}; Path=/api/v1/auth; Max-Age={COOKIE_SECONDS}; HttpOnly; Secure; SameSite=Strict"
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
         where user_id = $1 and token_hash = $2
         returning device_id",
    )
    .bind(user_id.uuid())
    .bind(client.device_hash)
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
    let Some(device_hash) = client.device_hash else {
        return Ok(None);
    };
    let row: Option<(Uuid,)> = sqlx::query_as(
        "select device_id
         from identity.devices
         join identity.users on users.user_id = devices.user_id
         where devices.token_hash = $1 and users.email = $2",
    )
    .bind(device_hash)
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
    let row: Option<(Uuid,)> =
        sqlx::query_as("select device_id from identity.devices where user_id = $1 and token_hash = $2")
            .bind(user_id.uuid())
            .bind(client.device_hash)
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
        assert!(by_header.is_some());
        assert_eq!(by_header, by_cookie);
        assert_eq!(shown(&headers(&[("cookie", "kinledger-device=kld_1")])), None);
        assert_eq!(shown(&headers(&[("kinledger-device", "")])), None);
        assert_eq!(shown(&headers(&[("kinledger-device", &"x".repeat(200))])), None);
    }
}
