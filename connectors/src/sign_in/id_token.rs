//! Reading an ID token (OpenID Connect Core 1.0 §3.1.3.7): signed by its issuer, for us, now, for this sign-in.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{Failure, discovery::Discovery};

/// Longest ID token, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// Difference between the provider's clock and ours that is forgiven, in seconds.
const LEEWAY_SECONDS: u64 = 120;
/// A token is issued while we wait for it; one that is older was meant for something else.
const AGE_SECONDS_MAX: u64 = 10 * 60;
/// Longest subject, in bytes (OpenID Connect Core 1.0 §2).
const SUBJECT_BYTES_MAX: usize = 255;

/// What we use of an ID token, or of the userinfo answer.
#[derive(Clone, Deserialize)]
pub(super) struct Claims {
    pub sub: String,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    aud: Audience,
    #[serde(default)]
    iat: f64,
    #[serde(default)]
    pub email: Option<String>,
    /// Apple writes it as text.
    #[serde(default, deserialize_with = "said_somehow")]
    pub email_verified: bool,
    /// Google's Workspace domain.
    #[serde(default)]
    pub hd: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
}

/// Several, or one. Whether we are among them is the library's to check.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Audience {
    Several(Vec<IgnoredAny>),
    One(IgnoredAny),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// Whom a token must be from and for.
pub(super) struct Expected<'a> {
    pub issuers: &'a [&'a str],
    pub client_id: &'a str,
    pub nonce: &'a str,
}

/// The claims of a token that holds.
///
/// # Errors
/// [`Failure::Unsound`] when anything is wrong with it; or the provider does not tell its keys.
pub(super) fn verified(discovery: &Discovery, token: &str, expected: &Expected<'_>) -> Result<Claims, Failure> {
    let unsound = |reason: &str| Failure::Unsound(format!("its ID token {reason}"));
    if token.len() > BYTES_MAX {
        return Err(unsound("is too long"));
    }
    // A header that names no algorithm we know, `none` among them, is not read at all.
    let header = decode_header(token).map_err(|_| unsound("cannot be read"))?;
    if !discovery.metadata()?.algorithms.contains(&header.alg) {
        return Err(unsound("is signed in a way that is not trusted"));
    }
    // RFC 7515 §4.1.11: what has to be understood, and is not, makes a token worth nothing. We understand no extension.
    if names_extensions(token) {
        return Err(unsound("asks for what is not understood"));
    }
    let jwk = discovery.key(header.kid.as_deref())?;
    let is_for_this = jwk
        .common
        .key_algorithm
        .is_none_or(|algorithm| algorithm.to_string() == format!("{:?}", header.alg));
    if !is_for_this {
        return Err(unsound("is signed in another way than its key is for"));
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| unsound("is signed by a key that cannot be used"))?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[expected.client_id]);
    validation.set_issuer(expected.issuers);
    validation.set_required_spec_claims(&["aud", "exp", "iss", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
    let claims = decode::<Claims>(token, &key, &validation)
        .map_err(|error| unsound(&format!("is refused: {}", reason(&error))))?
        .claims;
    claims.checked(expected)
}

/// Does the token's header have `crit`? One that cannot be read does, too.
fn names_extensions(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&header).ok();
    header.is_none_or(|header| header.contains_key("crit"))
}

impl Claims {
    fn checked(self, expected: &Expected<'_>) -> Result<Self, Failure> {
        let unsound = |reason: &str| Failure::Unsound(format!("its ID token {reason}"));
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(unsound("is for another sign-in"));
        }
        let is_for_several = matches!(&self.aud, Audience::Several(audiences) if audiences.len() > 1);
        match self.azp.as_deref() {
            Some(party) if party != expected.client_id => return Err(unsound("was made for somebody else")),
            None if is_for_several => return Err(unsound("is for several and does not say for whom")),
            _ => {}
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a float")]
        let age = now as f64 - self.iat;
        #[expect(clippy::cast_precision_loss, reason = "small constants")]
        if !(-(LEEWAY_SECONDS as f64)..=AGE_SECONDS_MAX as f64).contains(&age) {
            return Err(unsound("was not issued just now"));
        }
        self.with_sound_subject()
    }

    /// With what the provider tells of the same person besides.
    pub fn with_address_of(self, told: Self) -> Self {
        Self {
            email: told.email,
            email_verified: told.email_verified,
            hd: self.hd.or(told.hd),
            name: self.name.or(told.name),
            ..self
        }
    }

    /// # Errors
    /// [`Failure::Unsound`] when it names nobody.
    fn with_sound_subject(self) -> Result<Self, Failure> {
        // OpenID Connect Core 1.0 §2: ASCII characters.
        let is_plain = self.sub.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if self.sub.is_empty() || self.sub.len() > SUBJECT_BYTES_MAX || !is_plain {
            return Err(Failure::Unsound("it names nobody".to_owned()));
        }
        Ok(self)
    }
}

/// Our own words for what is wrong: the library's may repeat what stands in the token.
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;

    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ExpiredSignature => "it is over",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "another issuer",
        ErrorKind::InvalidAudience => "for somebody else",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        _ => "its form or its key",
    }
}

fn said_somehow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Plainly(bool),
        InText(String),
    }
    Ok(match Said::deserialize(deserializer)? {
        Said::Plainly(said) => said,
        Said::InText(text) => text == "true",
    })
}
