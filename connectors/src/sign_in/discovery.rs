//! What a provider says of itself (OpenID Connect Discovery 1.0), and the keys it signs with.
//!
//! Both are asked for when they are first needed, and kept for an hour. A token of a key that is not known makes us look once more,
//! but not for a minute after the last such look: whoever sends made-up tokens makes no traffic. While a provider does not answer,
//! it is not asked again for five seconds, so that those who wait do so once and not one after another.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, jwk::Jwk};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Failure,
    calls::{Calls, safe},
};

/// How long what was learned is believed.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// How long after a look for an unknown key no other follows.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long a provider that did not answer is left alone.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(5);
/// Keys of one provider at most.
const KEYS_MAX: usize = 50;
/// What ID tokens may be signed with: nothing without a key pair, nothing weak.
const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// What we use of the discovery document.
#[derive(Clone)]
pub(super) struct Metadata {
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub userinfo_endpoint: Option<String>,
    pub jwks_uri: String,
    pub algorithms: Vec<Algorithm>,
    /// Whether the answer always names the issuer (RFC 9207).
    pub names_issuer: bool,
    /// Whether the secret is sent in the form; otherwise as Basic authentication.
    pub takes_secret_in_form: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
}

/// One provider's.
pub(super) struct Discovery {
    issuer: String,
    calls: Calls,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    metadata: Option<(Metadata, Instant)>,
    keys: Option<(Vec<Jwk>, Instant)>,
    looked_at: Option<Instant>,
    failed: Option<(Failure, Instant)>,
}

impl Discovery {
    pub fn new(issuer: String, calls: Calls) -> Self {
        Self {
            issuer,
            calls,
            learned: Mutex::default(),
        }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What the provider says of itself.
    pub fn metadata(&self) -> Result<Metadata, Failure> {
        self.metadata_of(&mut self.lock())
    }

    /// The key of this id; for a token that names none, the only one there is.
    ///
    /// # Errors
    /// [`Failure::Unsound`] when there is none, also after a look.
    pub fn key(&self, id: Option<&str>) -> Result<Jwk, Failure> {
        let mut learned = self.lock();
        let is_old = |(_, since): &(Vec<Jwk>, Instant)| since.elapsed() >= KEPT_FOR;
        if learned.keys.as_ref().is_none_or(is_old) {
            self.read_keys(&mut learned)?;
        }
        if let Some(key) = find(&learned, id) {
            return Ok(key);
        }
        if learned.looked_at.is_none_or(|at| at.elapsed() >= LOOKS_AGAIN_AFTER) {
            learned.looked_at = Some(Instant::now());
            self.read_keys(&mut learned)?;
        }
        find(&learned, id).ok_or_else(|| Failure::Unsound("the ID token's key is not published".to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata_of(&self, learned: &mut Learned) -> Result<Metadata, Failure> {
        if let Some((metadata, since)) = &learned.metadata
            && since.elapsed() < KEPT_FOR
        {
            return Ok(metadata.clone());
        }
        let metadata = asked(learned, || self.read_metadata())?;
        learned.metadata = Some((metadata.clone(), Instant::now()));
        Ok(metadata)
    }

    fn read_metadata(&self) -> Result<Metadata, Failure> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let body = self.calls.get(&url, None)?.success("its discovery document")?;
        let document: Document = serde_json::from_value(body)
            .map_err(|_| Failure::Unsound("its discovery document lacks something".to_owned()))?;
        document.checked(&self.issuer)
    }

    fn read_keys(&self, learned: &mut Learned) -> Result<(), Failure> {
        let metadata = self.metadata_of(learned)?;
        let body = asked(learned, || {
            self.calls.get(&metadata.jwks_uri, None)?.success("its keys")
        })?;
        let keys = body["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let keys = keys.iter().take(KEYS_MAX).filter_map(readable).collect();
        learned.keys = Some((keys, Instant::now()));
        Ok(())
    }
}

/// Asks, unless the last time failed a moment ago.
fn asked<T>(learned: &mut Learned, ask: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if let Some((failure, at)) = &learned.failed
        && at.elapsed() < LEFT_ALONE_FOR
    {
        return Err(failure.clone());
    }
    let answer = ask();
    learned.failed = answer.as_ref().err().map(|failure| (failure.clone(), Instant::now()));
    answer
}

/// A key that signs and that we can read; others are for other people.
fn readable(key: &Value) -> Option<Jwk> {
    let signs = key["use"].as_str().is_none_or(|used| used == "sig");
    let is_pair = key["kty"].as_str().is_some_and(|kind| kind != "oct");
    (signs && is_pair).then(|| serde_json::from_value(key.clone()).ok())?
}

fn find(learned: &Learned, id: Option<&str>) -> Option<Jwk> {
    let (keys, _) = learned.keys.as_ref()?;
    match (id, keys.as_slice()) {
        (Some(id), keys) => keys
            .iter()
            .find(|key| key.common.key_id.as_deref() == Some(id))
            .cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

impl Document {
    /// # Errors
    /// [`Failure::Unsound`]: it is another issuer's, its addresses are not safe, or it has nothing that we would trust.
    fn checked(self, issuer: &str) -> Result<Metadata, Failure> {
        let unsound = |reason: &str| Failure::Unsound(format!("its discovery document {reason}"));
        if self.issuer != issuer {
            return Err(unsound("names another issuer than the settings"));
        }
        if let Some(methods) = &self.code_challenge_methods_supported
            && !methods.iter().any(|method| method == "S256")
        {
            return Err(unsound("offers no PKCE by S256"));
        }
        let algorithms: Vec<Algorithm> = ALGORITHMS
            .iter()
            .filter(|(name, _)| {
                self.id_token_signing_alg_values_supported
                    .iter()
                    .any(|offered| offered == name)
            })
            .map(|(_, algorithm)| *algorithm)
            .collect();
        if algorithms.is_empty() {
            return Err(unsound("offers no signature that is trusted (RS256, ES256, EdDSA)"));
        }
        for url in [&self.authorization_endpoint, &self.token_endpoint, &self.jwks_uri] {
            safe(url)?;
        }
        if let Some(url) = &self.userinfo_endpoint {
            safe(url)?;
        }
        // Where nothing is said, Basic it is.
        let offers = |name: &str| {
            let methods = self.token_endpoint_auth_methods_supported.as_ref();
            methods.map_or(name == "client_secret_basic", |methods| {
                methods.iter().any(|method| method == name)
            })
        };
        Ok(Metadata {
            takes_secret_in_form: !offers("client_secret_basic") && offers("client_secret_post"),
            authorization_endpoint: self.authorization_endpoint,
            token_endpoint: self.token_endpoint,
            userinfo_endpoint: self.userinfo_endpoint,
            jwks_uri: self.jwks_uri,
            algorithms,
            names_issuer: self.authorization_response_iss_parameter_supported,
        })
    }
}
