//! Signing in with an account elsewhere: Google, Apple, Facebook, X, or any OpenID provider.
//!
//! 1. `start` makes a *state*, which travels through the provider, and a *binding*, which stays with the browser: as a cookie that
//!    no page of others sends along, or in the hands of a client without cookies. The nonce of the ID token and the verifier of
//!    PKCE are computed from both and a key of ours, so what is stored is two hashes.
//! 2. The provider sends the browser back to `callback`, which does nothing but hand over what came to the page that asked, behind
//!    `#`: so Apple's form, which comes from another site, needs no cookie of ours.
//! 3. `finish` takes the sign-in by state and binding, once, within ten minutes. Somebody else's answer, put under a browser, fits
//!    no binding there; an answer that is stolen fits none elsewhere.
//!
//! Who somebody is there, issuer and subject, is looked up by itself. An e-mail address never opens an account: an unknown person
//! with the proven address of an account is told to sign in there first and link the two ([`finish`]). So neither does a
//! provider's account open ours, nor does ours, made beforehand with somebody else's address, capture them. Linking takes a proof of
//! the last ten minutes and ends in the session it began in.

mod asking;
mod callback;
mod finish;
mod flows;
mod link;
mod start;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
};
use connectors::sign_in::{Configured, Provider, Providers};
use serde_json::{Value, json};
use service_kit::problem::Problem;
use tokio::sync::Semaphore;

use super::{Identity, Secret, openapi::Route, secret::keyed_hash};

pub(super) use link::{Linked, forget_in_tx, linked};

/// Calls of one provider that are under way at once.
const CALLS_AT_ONCE: usize = 8;

/// The providers that are set up.
pub(super) struct SignInProviders {
    by_name: BTreeMap<String, Arc<SignInProvider>>,
    identity_key: [u8; 32],
    flow_key: [u8; 32],
}

/// One of them.
struct SignInProvider {
    name: String,
    title: String,
    provider: Arc<dyn Provider>,
    seats: Arc<Semaphore>,
}

impl SignInProviders {
    pub fn new(providers: &Providers, secret: &Secret) -> Self {
        let opened = |(name, configured): (&str, &Configured)| {
            let provider = SignInProvider {
                name: name.to_owned(),
                title: configured.title.clone(),
                provider: Arc::clone(&configured.provider),
                seats: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            };
            (name.to_owned(), Arc::new(provider))
        };
        Self {
            by_name: providers.iter().map(opened).collect(),
            identity_key: secret.derive("provider-identities/1"),
            flow_key: secret.derive("provider-flows/1"),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// What is kept of somebody's identity elsewhere.
    fn identity_hash(&self, issuer: &str, subject: &str) -> [u8; 32] {
        keyed_hash(&self.identity_key, &[issuer.as_bytes(), subject.as_bytes()])
    }

    /// # Errors
    /// 404 when there is none of this name here.
    fn named(&self, path: Result<Path<String>, PathRejection>) -> Result<Arc<SignInProvider>, Problem> {
        let Path(name) = path.map_err(|_| Problem::malformed("the address cannot be read"))?;
        let found = self.by_name.get(&name).cloned();
        found.ok_or_else(|| Problem::unknown("unknown-provider", "nobody signs in by this provider here"))
    }
}

/// Where a provider sends browsers back to; the provider is told this address beforehand and takes no other.
fn redirect_uri(identity: &Identity, provider: &SignInProvider) -> String {
    identity
        .postbox()
        .address(&format!("api/v1/auth/providers/{}/callback", provider.name))
}

pub(super) fn routes() -> Router<Identity> {
    Router::new()
        .merge(callback::routes())
        .merge(finish::routes())
        .merge(link::routes())
        .merge(start::routes())
}

pub(super) fn paths() -> Vec<Route> {
    [callback::paths(), finish::paths(), link::paths(), start::paths()]
        .into_iter()
        .flatten()
        .collect()
}

const MALFORMED_ADDRESS: (u16, &str) = (400, "The address cannot be read.");
const UNKNOWN: (u16, &str) = (404, "`unknown-provider`: it is not set up here.");
const FAILED: (u16, &str) = (
    502,
    "`provider-failed`: the provider does not answer, or its answer does not hold.",
);
const BUSY: (u16, &str) = (503, "The provider is being asked by many just now; ask again.");

fn provider_parameter() -> Value {
    json!({
        "name": "provider",
        "in": "path",
        "required": true,
        "description": "its name in the list of providers, such as `google`",
        "schema": { "type": "string", "pattern": "^[a-z0-9-]{1,40}$" },
    })
}
