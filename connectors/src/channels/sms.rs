//! Text messages, through a gateway that takes a form over HTTPS as Twilio does: `To`, `From`, `Body`, Basic authentication,
//! 201 when it has taken the message, and `{"code": …}` when not.
//!
//! There is no idempotency key: an answer that did not come may have been a message sent. So only what was surely not taken is
//! tried again (429, 5xx, no connection); after a time-out the person asks for another code.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::Url;

use super::{Channel, Message, Opened, SMS, SendError, Settings, shortened, wrong};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

struct Sms {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
    from: String,
}

/// The channel; none without the address of a gateway.
pub(super) fn open(settings: &Settings) -> Opened {
    let wrong = |reason: &str| wrong(SMS, reason);
    let Some(text) = &settings.sms_url else {
        return Ok(None);
    };
    let url = Url::parse(text).map_err(|_| wrong("the gateway is no address like https://…/Messages.json"))?;
    let is_loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback) {
        return Err(wrong("the gateway must be reached over https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "account and token do not belong into the gateway's address; give them by themselves",
        ));
    }
    let from = settings
        .sms_from
        .clone()
        .ok_or_else(|| wrong("a number or name that messages come from is missing"))?;
    let authorization = match (&settings.sms_account, &settings.sms_token) {
        (Some(account), Some(token)) => Some(basic(account, token)),
        (None, None) => None,
        _ => return Err(wrong("account and token go together")),
    };
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(settings.timeout()))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    Ok(Some(Box::new(Sms {
        agent,
        url: url.to_string(),
        authorization,
        from,
    })))
}

impl Channel for Sms {
    fn send(&self, message: &Message) -> Result<(), SendError> {
        let form = [
            ("To", message.to.as_str()),
            ("From", self.from.as_str()),
            ("Body", message.text.as_str()),
        ];
        let mut request = self.agent.post(&self.url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut answer = match request.send_form(form) {
            Ok(answer) => answer,
            Err(ureq::Error::Timeout(_)) => {
                return Err(SendError::Rejected(
                    "no answer in time; it may have been sent".to_owned(),
                ));
            }
            Err(error) => return Err(SendError::Later(shortened(&error.to_string()))),
        };
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let body: Value = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_json()
            .unwrap_or_default();
        Err(outcome(status, body["code"].as_u64()))
    }
}

/// What a refusal means, by Twilio's error codes.
fn outcome(status: u16, code: Option<u64>) -> SendError {
    let text = match code {
        Some(code) => format!("status {status}, code {code}"),
        None => format!("status {status}"),
    };
    match (status, code) {
        (_, Some(21_211 | 21_610 | 21_614 | 30_005 | 30_006)) => SendError::AddressDead(text),
        (_, Some(20_003 | 21_212 | 21_408 | 21_606 | 21_608 | 21_612 | 30_007 | 30_034)) | (401 | 403, _) => {
            SendError::Operator(text)
        }
        (429 | 500..=599, _) => SendError::Later(text),
        _ => SendError::Rejected(text),
    }
}

fn basic(account: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{account}:{token}")))
}
