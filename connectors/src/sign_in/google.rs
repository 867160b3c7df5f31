//! Google: OpenID, with its own rule for addresses.
//!
//! Google's word for an address is proof where Google runs the mailbox: `gmail.com`, or a Workspace domain, which `hd` names. Any
//! other address was verified once, when the account was made, and may be somebody else's by now.

use super::{
    Kind, Opening, Provider,
    discovery::Discovery,
    id_token::Claims,
    openid::{ClientSecret, OpenId, Rules},
};

pub(super) const KIND: Kind = Kind {
    name: "google",
    title: "Google",
    open,
};

const ISSUER: &str = "https://accounts.google.com";

fn open(opening: Opening<'_>) -> Result<Box<dyn Provider>, String> {
    let Opening { section, calls } = opening;
    let issuer = section.stand_in()?.unwrap_or_else(|| ISSUER.to_owned());
    Ok(Box::new(OpenId {
        client_id: section.client_id()?,
        client_secret: ClientSecret::Agreed(section.client_secret()?),
        discovery: Discovery::new(issuer, calls),
        rules: Rules {
            scope: "openid email profile",
            parameters: &[],
            also_called: &["accounts.google.com"],
            secret_in_form: false,
            proves_email: Box::new(runs_the_mailbox),
            introduced: |_| None,
        },
    }))
}

fn runs_the_mailbox(claims: &Claims) -> bool {
    let is_gmail = claims
        .email
        .as_ref()
        .is_some_and(|email| email.to_lowercase().ends_with("@gmail.com"));
    claims.email_verified && (is_gmail || claims.hd.as_ref().is_some_and(|domain| !domain.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_proven_where_google_runs_the_mailbox() {
        for (claims, is_proven) in [
            (
                json!({"sub": "1", "email": "ada@gmail.com", "email_verified": true}),
                true,
            ),
            (
                json!({"sub": "1", "email": "ada@example.org", "email_verified": true, "hd": "example.org"}),
                true,
            ),
            (
                json!({"sub": "1", "email": "ada@example.org", "email_verified": true}),
                false,
            ),
            (
                json!({"sub": "1", "email": "ada@gmail.com", "email_verified": false}),
                false,
            ),
            (json!({"sub": "1", "email": "ada@gmail.com"}), false),
            (
                json!({"sub": "1", "email": "ada@notgmail.com", "email_verified": true}),
                false,
            ),
        ] {
            let read: Claims = serde_json::from_value(claims.clone()).unwrap();
            assert_eq!(runs_the_mailbox(&read), is_proven, "{claims}");
        }
    }
}
