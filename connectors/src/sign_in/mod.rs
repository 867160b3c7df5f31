//! Signing in with somebody else's account: OpenID providers, and two that are not quite.
//!
//! A provider has two halves, between which the person's browser travels. [`Provider::authorization_url`] says where to send the
//! browser; [`Provider::person`] exchanges the code it came back with for who that is. State, nonce and PKCE verifier are the
//! caller's to make, keep and compare: here they are only passed on, and the nonce is held against the ID token.
//!
//! What is believed: an ID token signed by a key the provider publishes, with one of three algorithms, for us, now, for this
//! sign-in ([`id_token`]). Providers without ID tokens are asked who it is with the access token that the code gave, over TLS.
//! Whoever it is, is named by issuer and subject. An e-mail address is told only where this provider's word for it is proof:
//! what may not be trusted cannot be mixed up with what may.
//!
//! All calls end in time, are small, go to `https://` only (a provider on this machine may speak `http://`) and follow no
//! redirect. A new provider is a file and a line in [`KINDS`].

mod apple;
mod calls;
mod discovery;
mod facebook;
mod google;
mod id_token;
mod openid;
mod settings;
mod x;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use settings::{Section, Settings, SettingsError};

use calls::Calls;

/// Kinds of providers, by the names they have in settings.
const KINDS: &[Kind] = &[apple::KIND, facebook::KIND, google::KIND, openid::KIND, x::KIND];

/// One kind of provider.
struct Kind {
    name: &'static str,
    title: &'static str,
    open: fn(Opening<'_>) -> Result<Box<dyn Provider>, String>,
}

/// What a provider is opened from.
struct Opening<'a> {
    section: &'a Section,
    calls: Calls,
}

/// A sign-in that begins. The three values are random, for this sign-in alone.
#[derive(Clone, Copy)]
pub struct Beginning<'a> {
    /// Where the browser is to come back to.
    pub redirect_uri: &'a str,
    /// Comes back with the browser.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// The SHA-256 of the verifier, in base64url (RFC 7636, S256).
    pub challenge: &'a str,
}

/// What the browser came back with, and what was kept of the beginning.
#[derive(Clone, Copy)]
pub struct Return<'a> {
    /// Good once, at the provider.
    pub code: &'a str,
    /// The issuer that the answer named (RFC 9207); none when it named none.
    pub issuer: Option<&'a str>,
    /// What Apple tells once, at somebody's first sign-in; nobody signed it.
    pub introduction: Option<&'a str>,
    /// As at the beginning.
    pub redirect_uri: &'a str,
    /// As at the beginning.
    pub nonce: &'a str,
    /// What the challenge was made of.
    pub verifier: &'a str,
}

/// Somebody a provider knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// Who says so: fixed by our settings, never by an answer.
    pub issuer: String,
    /// Who it is there, for good.
    pub subject: String,
    /// An address that this provider proves to be theirs; none when it has none, or its word is no proof.
    pub email: Option<String>,
    /// How they are called there.
    pub display_name: Option<String>,
}

/// Why nobody is signed in. The texts hold no code, token or secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The code is not good: used, over, or of another sign-in.
    #[error("the provider does not confirm this sign-in: {0}")]
    Refused(String),
    /// No answer, or none in time.
    #[error("the provider does not answer: {0}")]
    Unreachable(String),
    /// The answer does not hold.
    #[error("the provider's answer does not hold: {0}")]
    Unsound(String),
    /// The provider does not take our client id, secret or address; an operator has to look.
    #[error("the provider does not take our settings: {0}")]
    Operator(String),
}

/// A place that knows people. Calls block; each ends in time.
pub trait Provider: Send + Sync {
    /// Where to send the browser.
    ///
    /// # Errors
    /// When the provider has first to be asked where that is, and does not say.
    fn authorization_url(&self, beginning: &Beginning<'_>) -> Result<String, Failure>;

    /// Who came back.
    ///
    /// # Errors
    /// [`Failure`].
    fn person(&self, returned: &Return<'_>) -> Result<Person, Failure>;
}

/// A provider that is set up.
#[derive(Clone)]
pub struct Configured {
    /// What its button says.
    pub title: String,
    /// The provider itself.
    pub provider: Arc<dyn Provider>,
}

/// The providers that are set up, by name. Cheap to clone; none by default.
#[derive(Clone, Default)]
pub struct Providers {
    by_name: Arc<BTreeMap<String, Configured>>,
}

impl Providers {
    /// Opens what the settings name. Nobody is asked yet: a provider that is down keeps nothing from starting.
    ///
    /// # Errors
    /// [`SettingsError`]: a section lacks something, or has what its kind does not know.
    pub fn open(settings: &Settings) -> Result<Self, SettingsError> {
        let mut by_name = BTreeMap::new();
        for (name, section) in settings.sections() {
            let wrong = |reason: String| SettingsError::new(name, reason);
            let kind = section.kind.as_deref().unwrap_or(name);
            let kind = KINDS
                .iter()
                .find(|known| known.name == kind)
                .ok_or_else(|| wrong(unknown_kind()))?;
            let opening = Opening {
                section,
                calls: Calls::new(settings.timeout),
            };
            let provider = (kind.open)(opening).map_err(wrong)?;
            let title = section.title.clone().unwrap_or_else(|| kind.title.to_owned());
            let provider = Arc::from(provider);
            by_name.insert(name.clone(), Configured { title, provider });
        }
        Ok(Self {
            by_name: Arc::new(by_name),
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Configured)> {
        self.by_name
            .iter()
            .map(|(name, configured)| (name.as_str(), configured))
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

fn unknown_kind() -> String {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    format!("give it a kind: {}", names.join(", "))
}
