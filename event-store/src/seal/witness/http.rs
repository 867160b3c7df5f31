//! A server that takes PUT and gives GET.

use super::{ANSWER_WITHIN, WitnessError};

/// A checkpoint has hundreds of bytes, the leaves of one a hundred thousand.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

pub(super) struct Server {
    base: String,
    bearer: Option<String>,
    agent: ureq::Agent,
}

impl std::fmt::Debug for Server {
    /// Without the token, and without the address, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(base: &str, bearer: Option<&str>) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            bearer: bearer.map(|token| format!("Bearer {}", token.trim())),
            agent: agent(),
        }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    pub(super) fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        let put = put(&self.agent, &self.url(name), bytes, true, self.bearer.as_deref())?;
        settle(put, name, bytes, || self.get(name))
    }

    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WitnessError> {
        match put(&self.agent, &self.url(name), bytes, false, self.bearer.as_deref())? {
            200..=299 => Ok(()),
            status => Err(WitnessError::Refused(status)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, WitnessError> {
        get(&self.agent, &self.url(name), self.bearer.as_deref())
    }
}

pub(super) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .http_status_as_error(false)
        .build()
        .into()
}

/// The status of a PUT; `is_new` asks the place to refuse when there is something of that name.
pub(super) fn put(
    agent: &ureq::Agent,
    url: &str,
    bytes: &[u8],
    is_new: bool,
    bearer: Option<&str>,
) -> Result<u16, WitnessError> {
    let mut request = agent.put(url).header("content-type", "application/octet-stream");
    if is_new {
        request = request.header("if-none-match", "*");
    }
    if let Some(bearer) = bearer {
        request = request.header("authorization", bearer);
    }
    let answer = request
        .send(bytes)
        .map_err(|error| WitnessError::Http(Box::new(error)))?;
    Ok(answer.status().as_u16())
}

/// What there is of that name.
pub(super) fn get(agent: &ureq::Agent, url: &str, bearer: Option<&str>) -> Result<Option<Vec<u8>>, WitnessError> {
    let mut request = agent.get(url);
    if let Some(bearer) = bearer {
        request = request.header("authorization", bearer);
    }
    let failed = |error| WitnessError::Http(Box::new(error));
    let mut answer = request.call().map_err(failed)?;
    match answer.status().as_u16() {
        200 => {
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
            body.read_to_vec().map(Some).map_err(failed)
        }
        404 => Ok(None),
        status => Err(WitnessError::Refused(status)),
    }
}

/// What a PUT that must not replace came to: taken, or refused because something is there, which then has to be the same.
pub(super) fn settle(
    status: u16,
    name: &str,
    bytes: &[u8],
    get: impl FnOnce() -> Result<Option<Vec<u8>>, WitnessError>,
) -> Result<(), WitnessError> {
    match status {
        200..=299 => Ok(()),
        409 | 412 => match get()? {
            Some(there) if there == bytes => Ok(()),
            Some(_) => Err(WitnessError::Other(name.to_owned())),
            None => Err(WitnessError::Refused(status)),
        },
        status => Err(WitnessError::Refused(status)),
    }
}
