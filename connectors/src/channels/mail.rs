//! Mail, through one SMTP server (RFC 5321).
//!
//! TLS is not optional: `smtps://` begins with it, `smtp://` asks for STARTTLS (RFC 3207) and sends neither password nor
//! message where that is not offered. Plain text is for a relay on the same machine, and takes no password.
//! A message is tried again under the same `Message-ID`, so that a second copy can be told.

use std::error::Error as _;

use lettre::{
    Message as Letter, SmtpTransport, Transport,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use url::{Host, Url};

use super::{Channel, MAIL, Message, Opened, SendError, Settings, SettingsError, shortened, wrong};

struct Mail {
    transport: SmtpTransport,
    from: Mailbox,
}

/// The channel; none without the address of a server.
pub(super) fn open(settings: &Settings) -> Opened {
    let wrong = |reason: &str| wrong(MAIL, reason);
    let Some(text) = &settings.smtp_url else {
        return Ok(None);
    };
    let url = Url::parse(text).map_err(|_| wrong("the server is no address like smtp://mail.example.org"))?;
    if url.password().is_some() {
        return Err(wrong(
            "a password does not belong into the server's address; give it by itself",
        ));
    }
    let host = url
        .host_str()
        .ok_or_else(|| wrong("the server's address names no host"))?;
    let tls = || -> Result<TlsParameters, SettingsError> {
        let mut tls = TlsParameters::builder(host.to_owned());
        if let Some(pem) = &settings.smtp_authorities_pem {
            let authority =
                Certificate::from_pem(pem).map_err(|_| wrong("the authorities are no certificates in PEM"))?;
            tls = tls.add_root_certificate(authority);
        }
        tls.build_rustls()
            .map_err(|_| wrong("TLS cannot be set up for this host"))
    };
    let (tls, port) = match url.scheme() {
        "smtps" => (Tls::Wrapper(tls()?), 465),
        "smtp" => (Tls::Required(tls()?), 587),
        "smtp-plain" if is_this_machine(host) && url.username().is_empty() => (Tls::None, 25),
        "smtp-plain" => {
            return Err(wrong("smtp-plain:// is for a server on this machine, without a user"));
        }
        _ => return Err(wrong("the server's address begins with smtp:// or smtps://")),
    };
    let from = settings
        .mail_from
        .as_ref()
        .ok_or_else(|| wrong("an address that mails come from is missing"))?
        .parse()
        .map_err(|_| wrong("what mails come from is no e-mail address"))?;
    let mut transport = SmtpTransport::builder_dangerous(host)
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .timeout(Some(settings.timeout()));
    match (url.username(), &settings.smtp_password) {
        ("", None) => {}
        ("", Some(_)) => return Err(wrong("there is a password, but no user in the server's address")),
        (_, None) => return Err(wrong("there is a user, but no password")),
        (user, Some(password)) => {
            let user = percent_decoded(user).ok_or_else(|| wrong("the user's name cannot be read"))?;
            transport = transport.credentials(Credentials::new(user, password.clone()));
        }
    }
    Ok(Some(Box::new(Mail {
        transport: transport.build(),
        from,
    })))
}

impl Channel for Mail {
    fn send(&self, message: &Message) -> Result<(), SendError> {
        let rejected = |what: &str| SendError::Rejected(what.to_owned());
        let to = message
            .to
            .parse()
            .map_err(|_| SendError::AddressDead("not an address that mail can be sent to".to_owned()))?;
        let host = self.from.email.domain();
        let letter = Letter::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(message.subject.as_str())
            .message_id(Some(format!("<{}@{host}>", message.id)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(message.text.clone())
            .map_err(|_| rejected("it cannot be written as a mail"))?;
        match self.transport.send(&letter) {
            Ok(_) => Ok(()),
            Err(error) => Err(outcome(&error)),
        }
    }
}

/// What a failure means, by the reply's codes (RFC 5321 §4.2, RFC 3463).
fn outcome(error: &Error) -> SendError {
    let text = reply(error);
    let Some(code) = error.status() else {
        // TLS that cannot be had is not tried less safely; whether the server or the settings are to blame, nobody can tell.
        return SendError::Later(text);
    };
    match u16::from(code) {
        400..=499 | 552 => SendError::Later(text),
        550 | 551 | 553 if !text.contains(" 5.7.") => SendError::AddressDead(text),
        530 | 534 | 535 | 538 | 550 => SendError::Operator(text),
        _ => SendError::Rejected(text),
    }
}

/// What the server answered, in its codes alone: its words may repeat what it was sent, as a filter's do that dislikes a link.
fn reply(error: &Error) -> String {
    let Some(code) = error.status() else {
        if error.is_response() {
            return "an answer that is none".to_owned();
        }
        return shortened(&error.to_string());
    };
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    match words.split_whitespace().next().filter(|word| is_enhanced_code(word)) {
        Some(enhanced) => format!("status {code} {enhanced}"),
        None => format!("status {code}"),
    }
}

/// Such as 5.7.1 (RFC 3463 §2).
fn is_enhanced_code(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(is_number)
}

fn is_this_machine(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

/// `%40` in a user's name is `@`: many servers call users by their address.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Says that no person wrote it, so that no absent receiver's machine answers (RFC 3834).
#[derive(Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(url: &str, password: Option<&str>) -> Result<bool, String> {
        let settings = Settings {
            smtp_url: Some(url.to_owned()),
            smtp_password: password.map(str::to_owned),
            mail_from: Some("Kinledger <kinledger@example.org>".to_owned()),
            ..Settings::default()
        };
        open(&settings)
            .map(|channel| channel.is_some())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plain_text_is_for_this_machine_and_without_a_password() {
        assert_eq!(opens("smtp-plain://127.0.0.1:2525", None), Ok(true));
        assert_eq!(opens("smtp-plain://[::1]:2525", None), Ok(true));
        assert_eq!(
            opens("smtps://ada%40example.org@mail.example.org", Some("secret")),
            Ok(true)
        );
        for (url, password) in [
            ("smtp-plain://mail.example.org", None),
            ("smtp-plain://ada@127.0.0.1", Some("secret")),
            ("smtp://ada@mail.example.org", None),
            ("smtp://mail.example.org", Some("secret")),
            ("smtp://ada:hunter2@mail.example.org", None),
            ("https://mail.example.org", None),
            ("mail.example.org", None),
        ] {
            let refused = opens(url, password).unwrap_err();
            assert!(!refused.contains("secret") && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn without_a_sender_there_is_no_mail() {
        let settings = Settings {
            smtp_url: Some("smtp://mail.example.org".to_owned()),
            ..Settings::default()
        };
        assert!(open(&settings).is_err());
        assert!(open(&Settings::default()).unwrap().is_none());
    }
}
