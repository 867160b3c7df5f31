//! Apple: OpenID, with a client secret that we sign ourselves, an answer that comes as a form, and a name that comes once.
//!
//! The name stands beside the code at somebody's first sign-in, in JSON that nobody signed: it is taken for a name to begin with
//! and for nothing else. The address may be a relay of Apple's, which is as good as any.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};

use super::{
    Failure, Kind, Opening, Provider,
    discovery::Discovery,
    openid::{ClientSecret, OpenId, Rules},
};

pub(super) const KIND: Kind = Kind {
    name: "apple",
    title: "Apple",
    open,
};

const ISSUER: &str = "https://appleid.apple.com";
/// A client secret lives for so long; it is made for each exchange. Apple takes up to six months.
const SECRET_SECONDS: u64 = 5 * 60;

/// A client secret's claims.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: u64,
    exp: u64,
    aud: &'a str,
    sub: &'a str,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Provider>, String> {
    let Opening { section, calls } = opening;
    let issuer = section.stand_in()?.unwrap_or_else(|| ISSUER.to_owned());
    let client_id = section.client_id()?;
    let (team_id, key_id) = (section.team_id()?, section.key_id()?);
    let pem = section
        .private_key_pem
        .as_deref()
        .ok_or("private_key_file is missing; docs/operations.md tells where it comes from")?;
    let key =
        EncodingKey::from_ec_pem(pem).map_err(|_| "private_key_file is no private key of Apple's (PEM, P-256)")?;
    let (audience, subject) = (issuer.clone(), client_id.clone());
    let make = move || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let header = Header {
            kid: Some(key_id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = Claims {
            iss: &team_id,
            iat: now,
            exp: now + SECRET_SECONDS,
            aud: &audience,
            sub: &subject,
        };
        encode(&header, &claims, &key).map_err(|_| Failure::Operator("the client secret cannot be signed".to_owned()))
    };
    // A key that cannot sign is found out now, not by the first who signs in.
    make().map_err(|_| "private_key_file cannot sign")?;
    Ok(Box::new(OpenId {
        client_id,
        client_secret: ClientSecret::Made(Box::new(make)),
        discovery: Discovery::new(issuer, calls),
        rules: Rules {
            scope: "openid name email",
            parameters: &[("response_mode", "form_post")],
            also_called: &[],
            secret_in_form: true,
            proves_email: Box::new(|claims| claims.email_verified),
            introduced,
        },
    }))
}

/// `{"name": {"firstName": …, "lastName": …}, "email": …}`; the address in it is nobody's word.
fn introduced(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Introduction {
        name: Name,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Name {
        first_name: Option<String>,
        last_name: Option<String>,
    }
    let Introduction { name } = serde_json::from_str(text).ok()?;
    let parts: Vec<String> = [name.first_name, name.last_name].into_iter().flatten().collect();
    let whole = parts.join(" ").trim().to_owned();
    (!whole.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_nothing_else() {
        let text = r#"{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"victim@example.org"}"#;
        assert_eq!(introduced(text).as_deref(), Some("Ada Lovelace"));
        assert_eq!(introduced(r#"{"name":{"firstName":"Ada"}}"#).as_deref(), Some("Ada"));
        assert_eq!(introduced(r#"{"name":{}}"#), None);
        assert_eq!(introduced("Ada"), None);
    }
}
