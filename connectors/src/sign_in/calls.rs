//! Asking a provider something: small, soon, and where the settings or its own discovery document lead.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::{Failure, settings::is_safe};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// How long a whole call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What calls are made with.
#[derive(Clone)]
pub(super) struct Calls {
    agent: ureq::Agent,
}

/// An answer, read to its end. Its body may hold tokens, so it has no `Debug`.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Calls {
    pub fn new(timeout: Option<Duration>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout.unwrap_or(TIMEOUT)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        Self { agent }
    }

    pub fn get(&self, url: &str, authorization: Option<&str>) -> Result<Answer, Failure> {
        let mut request = self.agent.get(safe(url)?.as_str()).header("accept", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        read(request.call())
    }

    pub fn post(&self, url: &str, authorization: Option<&str>, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let mut request = self
            .agent
            .post(safe(url)?.as_str())
            .header("accept", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        read(request.send_form(form.iter().copied()))
    }
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// [`Failure::Unsound`] for any other status.
    pub fn success(self, what: &str) -> Result<Value, Failure> {
        match self.status {
            200..=299 => Ok(self.body),
            500..=599 => Err(Failure::Unreachable(format!("{what}: status {}", self.status))),
            status => Err(Failure::Unsound(format!("{what}: status {status}"))),
        }
    }

    /// The body of a token endpoint's success (RFC 6749 §5).
    ///
    /// # Errors
    /// [`Failure::Refused`] when the code is not good, [`Failure::Operator`] when we are not.
    pub fn tokens(self) -> Result<Value, Failure> {
        if !(400..500).contains(&self.status) {
            return self.success("the token endpoint");
        }
        // Facebook puts an object here.
        let code = self.body["error"].as_str().unwrap_or_default();
        let known = |code: &str| format!("status {}, {code}", self.status);
        Err(match code {
            "invalid_client" | "unauthorized_client" | "unsupported_grant_type" => Failure::Operator(known(code)),
            "invalid_grant" | "invalid_request" => Failure::Refused(known(code)),
            _ => Failure::Refused(format!("status {}", self.status)),
        })
    }
}

/// An address that secrets may be sent to.
pub(super) fn safe(text: &str) -> Result<Url, Failure> {
    Url::parse(text)
        .ok()
        .filter(is_safe)
        .ok_or_else(|| Failure::Unsound("it names an address that is not https://".to_owned()))
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Failure> {
    let mut answer = answer.map_err(|error| failed(&error))?;
    let status = answer.status().as_u16();
    let bytes = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_vec()
        .map_err(|error| failed(&error))?;
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        Err(_) if (200..300).contains(&status) => return Err(Failure::Unsound("it is not JSON".to_owned())),
        Err(_) => Value::Null,
    };
    Ok(Answer { status, body })
}

/// In words of our own: an error's text may hold the address, and an address may hold a token.
fn failed(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Unreachable("no answer in time".to_owned()),
        ureq::Error::BodyExceedsLimit(_) => Failure::Unsound(format!("more than {ANSWER_BYTES_MAX} bytes")),
        ureq::Error::Io(error) => Failure::Unreachable(error.kind().to_string()),
        ureq::Error::HostNotFound => Failure::Unreachable("there is no such host".to_owned()),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Failure::Unreachable("TLS failed".to_owned()),
        _ => Failure::Unreachable("the call failed".to_owned()),
    }
}
