//! Any OpenID provider: the code flow with PKCE, by what its discovery document says (OpenID Connect Core 1.0 §3.1).
//!
//! `apple` and `google` are this with their own rules.

use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Url, form_urlencoded::byte_serialize};

use super::{
    Beginning, Failure, Kind, Opening, Person, Provider, Return,
    discovery::{Discovery, Metadata},
    id_token::{Claims, Expected, verified},
};

pub(super) const KIND: Kind = Kind {
    name: "openid",
    title: "OpenID",
    open,
};

/// Where a client's secret comes from.
pub(super) enum ClientSecret {
    /// It was agreed upon.
    Agreed(String),
    /// It is made anew each time.
    Made(Box<dyn Fn() -> Result<String, Failure> + Send + Sync>),
}

/// What differs from provider to provider.
pub(super) struct Rules {
    pub scope: &'static str,
    /// Further parameters of the authorization address.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Other names of the issuer in its tokens.
    pub also_called: &'static [&'static str],
    /// Whether the secret is sent in the form, whatever is said.
    pub secret_in_form: bool,
    /// Whether the address that the claims name is proven by them.
    pub proves_email: Box<dyn Fn(&Claims) -> bool + Send + Sync>,
    /// How somebody is called, by what came beside the code.
    pub introduced: fn(&str) -> Option<String>,
}

/// An OpenID provider.
pub(super) struct OpenId {
    pub client_id: String,
    pub client_secret: ClientSecret,
    pub discovery: Discovery,
    pub rules: Rules,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Provider>, String> {
    let Opening { section, calls } = opening;
    section.issuer()?;
    let issuer = section.issuer.as_deref().unwrap_or_default().trim().to_owned();
    let trusts_email = section.trusts_email;
    Ok(Box::new(OpenId {
        client_id: section.client_id()?,
        client_secret: ClientSecret::Agreed(section.client_secret()?),
        discovery: Discovery::new(issuer, calls),
        rules: Rules {
            scope: "openid email profile",
            parameters: &[],
            also_called: &[],
            secret_in_form: false,
            proves_email: Box::new(move |claims| trusts_email && claims.email_verified),
            introduced: |_| None,
        },
    }))
}

impl Provider for OpenId {
    fn authorization_url(&self, beginning: &Beginning<'_>) -> Result<String, Failure> {
        let metadata = self.discovery.metadata()?;
        let url = code_flow_url(
            &metadata.authorization_endpoint,
            &self.client_id,
            self.rules.scope,
            beginning,
        )?;
        let mut url = url;
        url.query_pairs_mut()
            .append_pair("nonce", beginning.nonce)
            .extend_pairs(self.rules.parameters);
        Ok(url.into())
    }

    fn person(&self, returned: &Return<'_>) -> Result<Person, Failure> {
        let metadata = self.discovery.metadata()?;
        match returned.issuer {
            Some(issuer) if issuer != self.discovery.issuer() => {
                return Err(Failure::Refused("the answer came from another issuer".to_owned()));
            }
            None if metadata.names_issuer => {
                return Err(Failure::Refused("the answer does not say whose it is".to_owned()));
            }
            _ => {}
        }
        let tokens = self.tokens(&metadata, returned)?;
        let id_token = tokens["id_token"]
            .as_str()
            .ok_or_else(|| Failure::Unsound("there is no ID token".to_owned()))?;
        let mut issuers = vec![self.discovery.issuer()];
        issuers.extend(self.rules.also_called);
        let expected = Expected {
            issuers: &issuers,
            client_id: &self.client_id,
            nonce: returned.nonce,
        };
        let mut claims = verified(&self.discovery, id_token, &expected)?;
        if let (None, Some(url)) = (&claims.email, &metadata.userinfo_endpoint) {
            claims = self.more(claims, url, tokens["access_token"].as_str())?;
        }
        let introduced = returned.introduction.and_then(self.rules.introduced);
        Ok(Person {
            issuer: self.discovery.issuer().to_owned(),
            email: claims.email.clone().filter(|_| (self.rules.proves_email)(&claims)),
            subject: claims.sub,
            display_name: introduced.or(claims.name),
        })
    }
}

impl OpenId {
    fn tokens(&self, metadata: &Metadata, returned: &Return<'_>) -> Result<serde_json::Value, Failure> {
        let secret = match &self.client_secret {
            ClientSecret::Agreed(secret) => secret.clone(),
            ClientSecret::Made(make) => make()?,
        };
        let mut form = code_form(returned);
        let calls = self.discovery.calls();
        if metadata.takes_secret_in_form || self.rules.secret_in_form {
            form.extend([("client_id", self.client_id.as_str()), ("client_secret", &secret)]);
            return calls.post(&metadata.token_endpoint, None, &form)?.tokens();
        }
        let authorization = basic(&self.client_id, &secret);
        calls
            .post(&metadata.token_endpoint, Some(&authorization), &form)?
            .tokens()
    }

    /// What the provider tells of the same person besides. An answer about somebody else is none (OpenID Connect Core 1.0 §5.3.2).
    fn more(&self, claims: Claims, url: &str, access_token: Option<&str>) -> Result<Claims, Failure> {
        let Some(access_token) = access_token else {
            return Ok(claims);
        };
        let authorization = format!("Bearer {access_token}");
        let body = self
            .discovery
            .calls()
            .get(url, Some(&authorization))?
            .success("its userinfo")?;
        let told: Claims =
            serde_json::from_value(body).map_err(|_| Failure::Unsound("its userinfo cannot be read".to_owned()))?;
        if told.sub != claims.sub {
            return Err(Failure::Unsound("its userinfo is about somebody else".to_owned()));
        }
        Ok(claims.with_address_of(told))
    }
}

/// Where the code flow begins (RFC 6749 §4.1.1, RFC 7636 §4.3).
pub(super) fn code_flow_url(
    endpoint: &str,
    client_id: &str,
    scope: &str,
    beginning: &Beginning<'_>,
) -> Result<Url, Failure> {
    let mut url = super::calls::safe(endpoint)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", beginning.redirect_uri)
        .append_pair("scope", scope)
        .append_pair("state", beginning.state)
        .append_pair("code_challenge", beginning.challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(url)
}

/// What a code is exchanged with (RFC 6749 §4.1.3, RFC 7636 §4.5).
pub(super) fn code_form<'a>(returned: &Return<'a>) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", returned.code),
        ("redirect_uri", returned.redirect_uri),
        ("code_verifier", returned.verifier),
    ]
}

/// Basic authentication of a client, whose two halves are written as in a form (RFC 6749 §2.3.1).
pub(super) fn basic(client_id: &str, secret: &str) -> String {
    let written = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", written(client_id), written(secret)))
    )
}
