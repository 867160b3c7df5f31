//! A person signs in with a password.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::problem::Problem;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Identity, IdentityError, account,
    address::Client,
    body::Body,
    factors::admission,
    guesses::Guesser,
    passwords::{CHARACTERS_MAX, Verdict},
    queue::Visitor,
    register::normal_email,
    security_events::{self, Kind, SecurityEvent},
    sessions::PasswordSince,
};

/// Somebody says who they are. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The account's e-mail address, in any case.
    #[schemars(length(max = 254))]
    email: String,
    /// Its password.
    #[schemars(length(max = 256))]
    password: String,
}

struct Account {
    user_id: UserId,
    password_hash: String,
    password: PasswordSince,
    device_id: Option<Uuid>,
    has_verified_email: bool,
}

/// `POST /api/v1/auth/login`: anybody.
///
/// An unknown address and a wrong password read the same and take as long. Only the right password tells whether there is a
/// second factor. Only a device that signed in to the account before is treated otherwise than a stranger: whether an address has an
/// account must not be read from who waits, and many share one network address.
pub(super) async fn sign_in(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<SignIn>,
) -> Result<Response, Problem> {
    let email = normal_email(&request.email)?;
    if request.password.chars().count() > CHARACTERS_MAX {
        return Err(Problem::malformed(format!(
            "password: at most {CHARACTERS_MAX} characters"
        )));
    }
    let account = find_account(&identity, &email, &client).await?;
    let address_hash = identity.address_hash(client.address);
    let device_id = account.as_ref().and_then(|account| account.device_id);
    let attempt = match device_id {
        Some(device_id) => identity.throttle().admit_device(&email, device_id)?,
        None => identity.throttle().admit(&email, client.address)?,
    };
    let (guesser, visitor) = match device_id {
        Some(device_id) => (Guesser::Device(device_id), Visitor::let_in_before(client.address)),
        None => (Guesser::Stranger, Visitor::anybody(client.address)),
    };
    let guess = match identity.guesses().count(&email, guesser).await {
        Ok(guess) => guess,
        Err(problem) => {
            attempt.forgiven();
            return Err(problem);
        }
    };

    let stored = account.as_ref().map(|account| account.password_hash.clone());
    let verdict = match identity
        .passwords()
        .verify(request.password.clone(), stored, visitor)
        .await
    {
        Ok(verdict) => verdict,
        Err(busy) => {
            attempt.forgiven();
            guess.take_back().await;
            return Err(busy);
        }
    };
    let account = match account {
        Some(account) if verdict != Verdict::Wrong => account,
        account => {
            attempt.failed();
            if let Some(Account { user_id, .. }) = account {
                // Not before the answer: whether there is an account makes it no slower.
                tokio::spawn(tell_owner(identity, user_id, address_hash).in_current_span());
            }
            return Err(wrong_credentials());
        }
    };
    attempt.succeeded();
    guess.take_back().await;
    if verdict == Verdict::RightButOutdated {
        renew_hash(&identity, &account, request.password, visitor).await;
    }
    if identity.requires_verified_email() && !account.has_verified_email {
        account::send_verification(&identity, account.user_id, &email).await?;
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "email-not-verified",
            "verify your e-mail address first; a mail tells how",
        ));
    }
    admission::admit(&identity, account.user_id, &["pwd"], Some(account.password), &client).await
}

/// Somebody guesses at the password of an account: its owner will read of it.
async fn tell_owner(identity: Identity, user_id: UserId, address_hash: Option<[u8; 32]>) {
    let event = SecurityEvent::about(Kind::SignInFailed, user_id).from_address(address_hash);
    if let Err(error) = security_events::record(identity.pool(), event).await {
        tracing::error!(%error, "a wrong password is not in the trail");
    }
}

pub(super) fn wrong_credentials() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "wrong-credentials",
        "the e-mail address or the password is wrong",
    )
}

type Row = (Uuid, String, DateTime<Utc>, Option<Uuid>, bool);

async fn find_account(identity: &Identity, email: &str, client: &Client) -> Result<Option<Account>, IdentityError> {
    let row: Option<Row> = sqlx::query_as(
        "select
             user_id,
             password_hash,
             password_changed_at,
             (
                 select device_id
                 from identity.devices
                 where devices.user_id = users.user_id and devices.token_hash = any($2)
                 order by last_used_at desc
                 limit 1
             ),
             email_verified_at is not null
         from identity.users
         where email = $1 and password_hash is not null",
    )
    .bind(email)
    .bind(&client.device_hashes)
    .fetch_optional(identity.pool())
    .await?;
    Ok(row.map(
        |(user_id, password_hash, changed_at, device_id, has_verified_email)| Account {
            user_id: UserId::from_uuid(user_id),
            password_hash,
            password: PasswordSince(changed_at),
            device_id,
            has_verified_email,
        },
    ))
}

/// Hashes the password anew with today's parameters. If that fails now, it succeeds some other day.
async fn renew_hash(identity: &Identity, account: &Account, password: String, visitor: Visitor) {
    let Ok(renewed) = identity.passwords().hash(password, visitor).await else {
        return;
    };
    let stored = sqlx::query("update identity.users set password_hash = $3 where user_id = $1 and password_hash = $2")
        .bind(account.user_id.uuid())
        .bind(&account.password_hash)
        .bind(renewed)
        .execute(identity.pool())
        .await;
    if let Err(error) = stored {
        tracing::warn!(error = %error, "a password hash could not be renewed");
    }
}
