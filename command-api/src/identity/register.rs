//! A person makes an account and is signed in.

use axum::{extract::State, http::StatusCode, response::Response};
use domain::id::UserId;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    Identity, IdentityError,
    account::{self, errands::Errand},
    address::Client,
    body::Body,
    private,
    queue::Visitor,
    security_events::{self, Kind, SecurityEvent},
    sessions,
};

/// Longest e-mail address, in bytes (RFC 5321 through erratum 1690).
const EMAIL_BYTES_MAX: usize = 254;
/// Longest name, in characters.
const DISPLAY_NAME_CHARACTERS_MAX: usize = 100;

/// A new account. It has no `Debug`: nothing may print it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// How the person signs in; one account each. Case does not matter.
    #[schemars(length(min = 3, max = 254), email)]
    email: String,
    /// 8 to 256 characters of any kind; not one of the common ones, and more than the person's own name or address.
    #[schemars(length(min = 8, max = 256))]
    password: String,
    /// How the person is called.
    #[schemars(length(min = 1, max = 100))]
    display_name: String,
}

/// `POST /api/v1/auth/register`: anybody.
///
/// Where addresses have to be verified first, the answer is 202 for a free address and a taken one alike, and the rest is told by
/// mail. Elsewhere a taken address answers 409, after the same work as a free one: that somebody has an account can then be found
/// out, one slow guess at a time, which an installation without a mail server cannot hide.
pub(super) async fn register(
    State(identity): State<Identity>,
    client: Client,
    Body(request): Body<Register>,
) -> Result<Response, Problem> {
    let email = normal_email(&request.email)?;
    let display_name = normal_display_name(&request.display_name)?;

    let attempt = identity
        .throttle()
        .admit_registration(&format!("register {email}"), client.address)?;
    let password_hash = match identity
        .passwords()
        .hash_new(
            request.password,
            &email,
            &display_name,
            Visitor::anybody(client.address),
        )
        .await
    {
        Ok(hash) => hash,
        Err(weak_or_busy) => {
            attempt.forgiven();
            return Err(weak_or_busy);
        }
    };
    let address_hash = identity.address_hash(client.address);
    if identity.requires_verified_email() {
        // Counted like a wrong guess, or somebody's mailbox could be filled quickly.
        attempt.failed();
        identity.errands().leave(Errand::Register {
            email,
            display_name,
            password_hash,
            address_hash,
        });
        return Ok(private(StatusCode::ACCEPTED));
    }
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
    .execute(identity.pool())
    .await;
    match inserted {
        Ok(done) if done.rows_affected() == 0 => {
            attempt.failed();
            return Err(Problem::conflict(
                "email-taken",
                "there is an account with this e-mail address; sign in instead",
            ));
        }
        Ok(_) => attempt.succeeded(),
        Err(error) => {
            attempt.forgiven();
            return Err(IdentityError::Database(error).into());
        }
    }
    let event = SecurityEvent::about(Kind::Registered, user_id).from_address(address_hash);
    security_events::record(identity.pool(), event)
        .await
        .map_err(IdentityError::Database)?;
    account::send_verification(&identity, user_id, &email).await?;
    let tokens = sessions::open(&identity, user_id, &["pwd"], &client).await?;
    Ok(sessions::handed_over(&identity, StatusCode::CREATED, tokens))
}

/// The form in which an e-mail address is stored and looked up.
///
/// # Errors
/// 400 when it is none. Only what every address has is asked: whether mail arrives there, only mail can tell. Two addresses that
/// look alike must not be two accounts, so nothing in one is invisible or turns its direction; and what mail programs read as
/// something else than it says (quotes, comments, lists, encoded words) is none.
pub(super) fn normal_email(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::malformed("email: expected an address like ada@example.org").with("field", "email");
    // The Kelvin sign and its like become a Latin letter in lower case: somebody else's address.
    if text
        .chars()
        .any(|c| !c.is_ascii() && c.to_lowercase().any(|lower| lower.is_ascii()))
    {
        return Err(wrong());
    }
    let email = text.trim().to_lowercase();
    let (local_part, host) = email.rsplit_once('@').ok_or_else(wrong)?;
    let is_sound = email.len() <= EMAIL_BYTES_MAX
        && !local_part.is_empty()
        && !host.is_empty()
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !host.contains("..")
        && !email.contains("=?")
        && !email.chars().any(|c| c.is_whitespace() || is_ambiguous(c))
        && domain::text::note("email", &email).is_ok_and(|shown| shown == email);
    if is_sound { Ok(email) } else { Err(wrong()) }
}

fn is_ambiguous(c: char) -> bool {
    matches!(c, '"' | '(' | ')' | '<' | '>' | '[' | ']' | '\\' | ',' | ':' | ';')
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0000}'..='\u{E01EF}')
}

/// A person's name, as it is stored.
///
/// # Errors
/// 400 when it is empty, long, more than one line, or holds what does not show or turns the direction of the rest.
pub(super) fn normal_display_name(text: &str) -> Result<String, Problem> {
    domain::text::name("display_name", text)
        .ok()
        .filter(|name| name.chars().count() <= DISPLAY_NAME_CHARACTERS_MAX)
        .ok_or_else(|| {
            let detail =
                format!("display_name: expected 1 to {DISPLAY_NAME_CHARACTERS_MAX} characters that show, on one line");
            Problem::malformed(detail).with("field", "display_name")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_kept_in_one_form() {
        assert_eq!(normal_email(" Ada@Example.ORG ").unwrap(), "ada@example.org");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@.org",
            "ada@example..org",
            "a da@example.org",
            "ada\0@example.org",
            "a\u{200B}da@example.org",
            "ada\u{202E}@example.org",
            "a\u{AD}da@example.org",
            "ada@example\u{FEFF}.org",
            "ada@exam\u{200D}ple.org",
            "\"ada\"@example.org",
            "ada(eve)@example.org",
            "=?utf-8?q?ada?=@example.org",
            "ada@[127.0.0.1]",
            "\u{212A}ate@example.org",
            "ada@\u{212A}in.example.org",
            "\u{130}da@example.org",
            &long,
        ] {
            assert!(normal_email(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_one_line_of_bounded_length() {
        assert!(normal_display_name(&"é".repeat(100)).is_ok());
        assert!(normal_display_name(&"é".repeat(101)).is_err());
        assert!(normal_display_name("  ").is_err());
        assert!(normal_display_name("two\nlines").is_err());
        assert!(normal_display_name("Ada\u{202E}adA").is_err());
        assert!(normal_display_name("\u{200B}").is_err());
    }
}
