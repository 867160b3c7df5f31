//! What an operator writes down of providers: a file in JSON, one section a provider.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;
use url::{Host, Url};

/// Providers at most.
const SECTIONS_MAX: usize = 20;
/// Fewest characters of a client secret; every provider's own are longer.
const SECRET_CHARACTERS_MIN: usize = 16;

/// One provider. It has no `Debug` that tells: it holds secrets.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Section {
    /// `apple`, `facebook`, `google`, `openid` or `x`; left out where the section's name says it.
    pub kind: Option<String>,
    /// What its button says; left out for the usual name.
    pub title: Option<String>,
    /// Who we are to the provider.
    pub client_id: Option<String>,
    /// What we prove it by.
    pub client_secret: Option<String>,
    /// Kind `openid`: the issuer, exactly as its discovery document says it.
    pub issuer: Option<String>,
    /// Kind `openid`: whether an address that it calls verified is taken for proven. Default no.
    pub trusts_email: bool,
    /// Kind `apple`: the team that the key belongs to.
    pub team_id: Option<String>,
    /// Kind `apple`: the key's id.
    pub key_id: Option<String>,
    /// Kind `apple`: the file with the private key (`AuthKey_….p8`).
    pub private_key_file: Option<PathBuf>,
    /// The content of that file; whoever reads the settings reads it too.
    #[serde(skip)]
    pub private_key_pem: Option<Vec<u8>>,
    /// A stand-in for the vendor, on this machine only, to try things out.
    pub stand_in: Option<String>,
}

/// All of them.
#[derive(Clone, Default)]
pub struct Settings {
    sections: BTreeMap<String, Section>,
    /// How long a provider may take for an answer. Default 10 s.
    pub timeout: Option<Duration>,
}

/// Why a provider cannot be opened as told. The text holds no secret.
#[derive(Debug, thiserror::Error)]
#[error("sign-in provider '{section}': {reason}")]
pub struct SettingsError {
    section: String,
    reason: String,
}

impl SettingsError {
    pub(super) fn new(section: &str, reason: impl Into<String>) -> Self {
        Self {
            section: section.to_owned(),
            reason: reason.into(),
        }
    }
}

impl Settings {
    /// Reads the file's text: an object with a section a provider.
    ///
    /// # Errors
    /// [`SettingsError`]. It names a line, never what stands in it.
    pub fn parse(text: &[u8]) -> Result<Self, SettingsError> {
        let sections: BTreeMap<String, Section> = serde_json::from_slice(text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => "a name or a value is not among the expected ones",
                _ => "it is not JSON",
            };
            SettingsError::new("?", format!("{what} ({place})"))
        })?;
        if sections.len() > SECTIONS_MAX {
            return Err(SettingsError::new("?", format!("at most {SECTIONS_MAX} providers")));
        }
        let is_sound = |name: &str| {
            (1..=40).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if let Some(name) = sections.keys().find(|name| !is_sound(name)) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            let reason = "a name has small letters, digits and hyphens, 40 at most";
            return Err(SettingsError::new(&name, reason));
        }
        Ok(Self {
            sections,
            timeout: None,
        })
    }

    /// The sections by name.
    pub fn sections(&self) -> impl Iterator<Item = (&String, &Section)> {
        self.sections.iter()
    }

    /// The sections by name, to add what their files hold.
    pub fn sections_mut(&mut self) -> impl Iterator<Item = (&String, &mut Section)> {
        self.sections.iter_mut()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sections.keys()).finish()
    }
}

impl Section {
    pub(super) fn client_id(&self) -> Result<String, String> {
        filled(self.client_id.as_ref(), "client_id")
    }

    pub(super) fn client_secret(&self) -> Result<String, String> {
        let secret = filled(self.client_secret.as_ref(), "client_secret")?;
        let is_one_letter = secret.bytes().all(|byte| Some(byte) == secret.bytes().next());
        if secret.chars().count() < SECRET_CHARACTERS_MIN || is_one_letter {
            return Err(format!(
                "client_secret is a placeholder or too short ({SECRET_CHARACTERS_MIN} characters at least): take the provider's"
            ));
        }
        Ok(secret)
    }

    pub(super) fn team_id(&self) -> Result<String, String> {
        filled(self.team_id.as_ref(), "team_id")
    }

    pub(super) fn key_id(&self) -> Result<String, String> {
        filled(self.key_id.as_ref(), "key_id")
    }

    pub(super) fn issuer(&self) -> Result<Url, String> {
        let url = Url::parse(&filled(self.issuer.as_ref(), "issuer")?)
            .map_err(|_| "issuer is no address like https://login.example.org".to_owned())?;
        if !is_safe(&url) || url.query().is_some() || url.fragment().is_some() {
            return Err("issuer must be an https:// address without query or fragment".to_owned());
        }
        Ok(url)
    }

    /// What stands in for the vendor, if anything does; without its last slash.
    pub(super) fn stand_in(&self) -> Result<Option<String>, String> {
        let Some(text) = &self.stand_in else {
            return Ok(None);
        };
        let url = Url::parse(text).map_err(|_| "stand_in is no address".to_owned())?;
        if !is_this_machine(&url) {
            return Err("stand_in is for trials, on this machine only".to_owned());
        }
        Ok(Some(text.trim_end_matches('/').to_owned()))
    }
}

fn filled(value: Option<&String>, name: &str) -> Result<String, String> {
    let value = value.map(|text| text.trim()).filter(|text| !text.is_empty());
    value
        .map(str::to_owned)
        .ok_or_else(|| format!("{name} is missing; docs/operations.md tells where it comes from"))
}

/// Whether secrets may be sent there.
pub(super) fn is_safe(url: &Url) -> bool {
    let has_user = !url.username().is_empty() || url.password().is_some();
    !has_user && (url.scheme() == "https" && url.host().is_some() || url.scheme() == "http" && is_this_machine(url))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Providers;
    use super::*;

    fn refusal(text: &str) -> String {
        let opened = Settings::parse(text.as_bytes()).and_then(|settings| Providers::open(&settings));
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_provider_needs_little_and_says_what_is_missing() {
        let whole = r#"{
            "google": {"client_id": "ours.example.org", "client_secret": "GOCSPX-0123456789abcdef"},
            "x": {"client_id": "ours", "client_secret": "0123456789abcdefghij"},
            "our-login": {"kind": "openid", "title": "Our login", "issuer": "https://login.example.org",
                          "client_id": "ours", "client_secret": "0123456789abcdefghij"}
        }"#;
        let providers = Providers::open(&Settings::parse(whole.as_bytes()).unwrap()).unwrap();
        let titles: Vec<(&str, &str)> = providers
            .iter()
            .map(|(name, configured)| (name, configured.title.as_str()))
            .collect();
        assert_eq!(titles, [("google", "Google"), ("our-login", "Our login"), ("x", "X")]);
        for (text, expected) in [
            (
                r#"{"google": {"client_secret": "0123456789abcdefghij"}}"#,
                "client_id is missing",
            ),
            (r#"{"google": {"client_id": "ours"}}"#, "client_secret is missing"),
            (
                r#"{"google": {"client_id": "ours", "client_secret": "changeme"}}"#,
                "placeholder or too short",
            ),
            (
                r#"{"google": {"client_id": "ours", "client_secret": "xxxxxxxxxxxxxxxxxxxxxxxx"}}"#,
                "placeholder or too short",
            ),
            (r#"{"keycloak": {"client_id": "ours"}}"#, "give it a kind"),
            (r#"{"apple": {"client_id": "ours"}}"#, "team_id is missing"),
            (r#"{"Google": {}}"#, "small letters"),
            (r#"{"google": {"secret": "s3cret-s3cret-s3cret"}}"#, "line 1"),
            (r#"{"google": "s3cret-s3cret-s3cret""#, "line 1"),
            (
                r#"{"o": {"kind": "openid", "issuer": "http://login.example.org", "client_id": "a", "client_secret": "0123456789abcdefghij"}}"#,
                "https://",
            ),
            (
                r#"{"google": {"client_id": "a", "client_secret": "0123456789abcdefghij", "stand_in": "https://evil.example.org"}}"#,
                "on this machine only",
            ),
        ] {
            let refused = refusal(text);
            assert!(refused.contains(expected), "{text}: {refused}");
            assert!(
                !refused.contains("s3cret") && !refused.contains("changeme"),
                "{refused}"
            );
        }
    }
}
