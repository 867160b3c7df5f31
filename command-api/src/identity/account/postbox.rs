//! Where identity's letters are put in: never waited for, and refused at once where no mail is set up.

use std::time::Duration;

use axum::http::StatusCode;
use connectors::channels::{MAIL, Message, Outbox, SMS};
use service_kit::problem::Problem;
use uuid::Uuid;

use super::{
    super::{IdentityConfig, IdentityError},
    letters::Letter,
};

/// The installation's mail and text messages.
pub(in super::super) struct Postbox {
    mail: Option<Outbox>,
    sms: Option<Outbox>,
    public_url: String,
}

impl Postbox {
    /// # Errors
    /// [`IdentityError::Settings`] when the installation's address is none that links may begin with.
    pub fn try_new(config: &IdentityConfig) -> Result<Self, IdentityError> {
        let mail = config.channels.get(MAIL).cloned();
        let sms = config.channels.get(SMS).cloned();
        let public_url = sound_url(&config.public_url)?;
        Ok(Self { mail, sms, public_url })
    }

    /// Whether mails can be sent.
    pub fn has_mail(&self) -> bool {
        self.mail.is_some()
    }

    /// # Errors
    /// 422 `mail-not-configured` when nobody has set up a mail server.
    pub fn require_mail(&self) -> Result<(), Problem> {
        if self.has_mail() {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "mail-not-configured",
            "this installation sends no mail; ask whoever runs it",
        ))
    }

    /// # Errors
    /// 422 `sms-not-configured` when nobody has set up a gateway.
    pub fn require_sms(&self) -> Result<(), Problem> {
        if self.sms.is_some() {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "sms-not-configured",
            "this installation sends no text messages; sign in another way",
        ))
    }

    /// Puts a text message in, as [`Self::post`] a letter.
    pub fn text(&self, number: &str, text: String, useful_for: Duration) {
        let Some(sms) = &self.sms else {
            return;
        };
        let message = Message {
            id: Uuid::new_v4(),
            to: number.to_owned(),
            subject: String::new(),
            text,
            useful_for,
        };
        if sms.post(message).is_err() {
            // The outbox has logged and counted it.
        }
    }

    /// A link that hands a token to the page that asks for it.
    pub fn link(&self, page: &str, token: &str) -> String {
        format!("{}/#/{page}?token={token}", self.public_url)
    }

    /// An address of this installation.
    pub fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.public_url)
    }

    /// Puts a letter in. A full queue loses it, which its log line and metric say: nobody who waits for an answer may learn that
    /// there was a letter.
    pub fn post(&self, to: &str, letter: Letter) {
        let Some(mail) = &self.mail else {
            return;
        };
        let message = Message {
            id: Uuid::new_v4(),
            to: to.to_owned(),
            subject: letter.subject.to_owned(),
            text: letter.text,
            useful_for: letter.useful_for,
        };
        if mail.post(message).is_err() {
            // The outbox has logged and counted it.
        }
    }
}

fn sound_url(text: &str) -> Result<String, IdentityError> {
    let wrong = || {
        IdentityError::Settings(
            "KINLEDGER_PUBLIC_URL must be an address like https://kinledger.example.org, without query or fragment; \
             http:// is for this machine only"
                .to_owned(),
        )
    };
    let url: axum::http::Uri = text.parse().map_err(|_| wrong())?;
    let host = url.host().ok_or_else(wrong)?;
    let is_this_machine = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let is_safe = match url.scheme_str() {
        Some("https") => true,
        Some("http") => is_this_machine,
        _ => false,
    };
    let has_user = url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if !is_safe || has_user || text.contains(['?', '#']) {
        return Err(wrong());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_a_safe_address() {
        assert_eq!(
            sound_url("https://money.example.org/").unwrap(),
            "https://money.example.org"
        );
        assert!(sound_url("http://127.0.0.1:8080").is_ok());
        for url in [
            "",
            "money.example.org",
            "http://money.example.org",
            "https://ada@money.example.org",
            "https://money.example.org/?a=b",
            "https://money.example.org/#x",
            "javascript:alert(1)",
        ] {
            assert!(sound_url(url).is_err(), "{url}");
        }
    }
}
