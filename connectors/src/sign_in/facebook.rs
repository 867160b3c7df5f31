//! Facebook: OAuth 2.0 by its own rules, without an ID token.
//!
//! Who it is says the Graph, asked with the access token that the code gave. Before that the token itself is looked at: one that
//! another app was given must not sign anybody in here. Facebook does not say which addresses it has verified, so none is asked
//! for.

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{
    Beginning, Failure, Kind, Opening, Person, Provider, Return,
    calls::{Calls, safe},
    openid::{code_flow_url, code_form},
};

pub(super) const KIND: Kind = Kind {
    name: "facebook",
    title: "Facebook",
    open,
};

/// What subjects of Facebook are kept under, whichever version of the Graph told them.
const ISSUER: &str = "https://www.facebook.com";
const DIALOG: &str = "https://www.facebook.com/v23.0/dialog/oauth";
const GRAPH: &str = "https://graph.facebook.com/v23.0";

struct Facebook {
    client_id: String,
    client_secret: String,
    calls: Calls,
    dialog: String,
    graph: String,
}

fn open(opening: Opening<'_>) -> Result<Box<dyn Provider>, String> {
    let Opening { section, calls } = opening;
    let (dialog, graph) = match section.stand_in()? {
        Some(base) => (format!("{base}/dialog/oauth"), base),
        None => (DIALOG.to_owned(), GRAPH.to_owned()),
    };
    Ok(Box::new(Facebook {
        client_id: section.client_id()?,
        client_secret: section.client_secret()?,
        calls,
        dialog,
        graph,
    }))
}

impl Provider for Facebook {
    fn authorization_url(&self, beginning: &Beginning<'_>) -> Result<String, Failure> {
        code_flow_url(&self.dialog, &self.client_id, "public_profile", beginning).map(Into::into)
    }

    fn person(&self, returned: &Return<'_>) -> Result<Person, Failure> {
        let mut form = code_form(returned);
        form.extend([
            ("client_id", self.client_id.as_str()),
            ("client_secret", &self.client_secret),
        ]);
        let tokens = self
            .calls
            .post(&format!("{}/oauth/access_token", self.graph), None, &form)?
            .tokens()?;
        let access_token = tokens["access_token"]
            .as_str()
            .ok_or_else(|| Failure::Unsound("there is no access token".to_owned()))?;
        let owner = self.owner_of(access_token)?;
        let proof = self.proof(access_token)?;
        let me = self.ask(
            "me",
            &[
                ("fields", "id,name"),
                ("access_token", access_token),
                ("appsecret_proof", &proof),
            ],
        )?;
        let subject = me["id"].as_str().filter(|id| !id.is_empty() && id.len() <= 255);
        let subject = subject.ok_or_else(|| Failure::Unsound("it names nobody".to_owned()))?;
        if subject != owner {
            return Err(Failure::Unsound("the access token is somebody else's".to_owned()));
        }
        Ok(Person {
            issuer: ISSUER.to_owned(),
            subject: subject.to_owned(),
            email: None,
            display_name: me["name"].as_str().map(str::to_owned),
        })
    }
}

impl Facebook {
    /// Whose token it is, once it is ours.
    fn owner_of(&self, access_token: &str) -> Result<String, Failure> {
        let ours = format!("{}|{}", self.client_id, self.client_secret);
        let told = self.ask("debug_token", &[("input_token", access_token), ("access_token", &ours)])?;
        let data = &told["data"];
        let is_ours = data["is_valid"] == true && data["app_id"].as_str() == Some(&self.client_id);
        let owner = data["user_id"].as_str().filter(|_| is_ours);
        owner
            .map(str::to_owned)
            .ok_or_else(|| Failure::Unsound("the access token was not made for us".to_owned()))
    }

    fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut url = safe(&format!("{}/{what}", self.graph))?;
        url.query_pairs_mut().extend_pairs(parameters);
        self.calls.get(url.as_str(), None)?.success("the Graph")
    }

    /// Shows that whoever holds the token is also who has the app's secret.
    fn proof(&self, access_token: &str) -> Result<String, Failure> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.client_secret.as_bytes())
            .map_err(|_| Failure::Operator("the client secret cannot be used".to_owned()))?;
        mac.update(access_token.as_bytes());
        Ok(hex::encode(mac.finalize().into_bytes()))
    }
}
