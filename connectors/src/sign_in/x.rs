//! X: OAuth 2.0 with PKCE, without an ID token and without an address.
//!
//! Who it is says `users/me`, asked with the access token that the code gave. X has no way to ask whom a token was made for; it came
//! from the exchange of our own code, with our own secret, and from nowhere else.

use super::{
    Beginning, Failure, Kind, Opening, Person, Provider, Return,
    calls::Calls,
    openid::{basic, code_flow_url, code_form},
};

pub(super) const KIND: Kind = Kind {
    name: "x",
    title: "X",
    open,
};

/// What subjects of X are kept under.
const ISSUER: &str = "https://x.com";
const AUTHORIZE: &str = "https://x.com/i/oauth2/authorize";
const API: &str = "https://api.x.com/2";

struct X {
    client_id: String,
    client_secret: String,
    calls: Calls,
    authorize: String,
    api: String,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Provider>, String> {
    let Opening { section, calls } = opening;
    let (authorize, api) = match section.stand_in()? {
        Some(base) => (format!("{base}/i/oauth2/authorize"), base),
        None => (AUTHORIZE.to_owned(), API.to_owned()),
    };
    Ok(Box::new(X {
        client_id: section.client_id()?,
        client_secret: section.client_secret()?,
        calls,
        authorize,
        api,
    }))
}

impl Provider for X {
    fn authorization_url(&self, beginning: &Beginning<'_>) -> Result<String, Failure> {
        code_flow_url(&self.authorize, &self.client_id, "users.read tweet.read", beginning).map(Into::into)
    }

    fn person(&self, returned: &Return<'_>) -> Result<Person, Failure> {
        let authorization = basic(&self.client_id, &self.client_secret);
        let tokens = self
            .calls
            .post(
                &format!("{}/oauth2/token", self.api),
                Some(&authorization),
                &code_form(returned),
            )?
            .tokens()?;
        let access_token = tokens["access_token"]
            .as_str()
            .ok_or_else(|| Failure::Unsound("there is no access token".to_owned()))?;
        let authorization = format!("Bearer {access_token}");
        let me = self
            .calls
            .get(&format!("{}/users/me", self.api), Some(&authorization))?
            .success("users/me")?;
        let me = &me["data"];
        let subject = me["id"].as_str().filter(|id| !id.is_empty() && id.len() <= 255);
        Ok(Person {
            issuer: ISSUER.to_owned(),
            subject: subject
                .map(str::to_owned)
                .ok_or_else(|| Failure::Unsound("it names nobody".to_owned()))?,
            email: None,
            display_name: me["name"].as_str().map(str::to_owned),
        })
    }
}
