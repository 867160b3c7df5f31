//! An installation that logs all it can, and people who use it.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use serde_json::{Value, json};
use service_kit::testing::telephones::Telephones;
use uuid::Uuid;

use super::{
    planted::Planted,
    servers::{CLIENT_ID, MailServer, Provider, SMS_ACCOUNT},
};
use crate::support::{Client, Household, Kinledger, PASSWORD, Person, Reply, wait_until};

const WITHIN: Duration = Duration::from_secs(30);

/// Everything that is logged of our own code, and of others' what an operator turns on to find a fault.
const LOGGED: &str = "debug,command_api=trace,connectors=trace,domain=trace,event_store=trace,kinledger=trace,\
    projectors=trace,query_api=trace,reactors=trace,replay_api=trace,service_kit=trace";

/// What is set up, and how.
pub struct Settings {
    mail_url: String,
    authority: String,
    sms_url: String,
    pub smtp_password: String,
    pub sms_token: String,
    pub client_secret: String,
    pub key: String,
}

impl Settings {
    pub fn new(mail_url: String, authority: &str, sms_url: String) -> Self {
        let random = || Uuid::new_v4().simple().to_string();
        Self {
            mail_url,
            authority: authority.to_owned(),
            sms_url,
            smtp_password: format!("smtp-{}", random()),
            sms_token: format!("sms-{}", random()),
            client_secret: format!("xcs-{}", random()),
            key: random() + &random(),
        }
    }
}

/// Somebody with an account.
pub struct Account {
    pub email: String,
    pub password: String,
    pub client: Client,
    pub refresh_token: String,
    pub device_token: String,
}

pub struct World {
    pub kinledger: Kinledger,
    pub planted: Planted,
    pub settings: Settings,
    pub mail_server: MailServer,
    pub telephones: Telephones,
    pub provider: Provider,
    pub family: Household,
    /// Everybody who ever signed in.
    pub people: Vec<Client>,
    _files: tempfile::TempDir,
}

impl World {
    pub fn start() -> Self {
        let (mail_server, telephones) = (MailServer::start(), Telephones::start());
        let settings = Settings::new(mail_server.url(), &mail_server.authority, telephones.url());
        Self::with(settings, Provider::start(), mail_server, telephones)
    }

    /// The same with other servers.
    pub fn start_with(settings: Settings, provider: Provider) -> Self {
        Self::with(settings, provider, MailServer::start(), Telephones::start())
    }

    fn with(settings: Settings, provider: Provider, mail_server: MailServer, telephones: Telephones) -> Self {
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let providers = json!({
            "x": {"client_id": CLIENT_ID, "client_secret": settings.client_secret, "stand_in": provider.url()},
        });
        let kinledger = Kinledger::start_with(&[
            ("KINLEDGER_SMTP_URL", settings.mail_url.clone()),
            ("KINLEDGER_SMTP_PASSWORD", settings.smtp_password.clone()),
            (
                "KINLEDGER_SMTP_AUTHORITIES_FILE",
                write("authority.pem", &settings.authority),
            ),
            ("KINLEDGER_MAIL_FROM", "Kinledger <kinledger@example.org>".to_owned()),
            ("KINLEDGER_SMS_URL", settings.sms_url.clone()),
            ("KINLEDGER_SMS_ACCOUNT", SMS_ACCOUNT.to_owned()),
            ("KINLEDGER_SMS_TOKEN_FILE", write("sms-token", &settings.sms_token)),
            ("KINLEDGER_SMS_FROM", "+15005550006".to_owned()),
            (
                "KINLEDGER_SIGN_IN_PROVIDERS_FILE",
                write("providers.json", &providers.to_string()),
            ),
            ("KINLEDGER_PUBLIC_URL", "https://money.example.org".to_owned()),
            ("KINLEDGER_KEY", settings.key.clone()),
            ("KINLEDGER_RATE_LIMITS", "off".to_owned()),
            ("RUST_LOG", LOGGED.to_owned()),
        ]);
        let family = Household::found(&kinledger, "The Secretive", "EUR");
        let mut world = Self {
            kinledger,
            planted: Planted::default(),
            settings,
            mail_server,
            telephones,
            provider,
            family,
            people: Vec::new(),
            _files: files,
        };
        world.plant_what_is_set_up();
        world
    }

    fn plant_what_is_set_up(&mut self) {
        let secret = fs::read_to_string(self.kinledger.data_dir().join("secret")).unwrap();
        self.planted.secret("secret of the installation", secret.trim());
        let settings = &self.settings;
        for (kind, text) in [
            ("key-encryption key", &settings.key),
            ("SMTP password", &settings.smtp_password),
            ("token of the gateway", &settings.sms_token),
            ("secret of a provider", &settings.client_secret),
            ("access token of a provider", &self.provider.access_token),
        ] {
            self.planted.secret(kind, text);
        }
        self.planted.secret("password", PASSWORD);
        let family = &self.family;
        for person in [&family.parent, &family.partner, &family.teen, &family.child] {
            self.planted.secret("refresh token", &person.refresh_token);
            self.planted.secret("access token", person.client.token());
            self.people.push(person.client.clone());
        }
    }

    pub fn anybody(&self) -> Client {
        self.kinledger.client()
    }

    /// Asks until it is looked at: after a wrong guess the next one waits.
    #[track_caller]
    pub fn post(&self, client: &Client, path: &str, body: &Value) -> Reply {
        let mut reply = client.post(path, body);
        let is_looked_at = wait_until(WITHIN, || {
            if reply.status == 429 {
                crate::support::pause(Duration::from_millis(200));
                reply = client.post(path, body);
            }
            reply.status != 429
        });
        assert!(is_looked_at, "{path}: {}", reply.text());
        reply
    }

    /// The same by another method, with a body.
    #[track_caller]
    pub fn put(&self, client: &Client, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        client.send("PUT", path, &headers, Some(body.to_string().as_bytes()))
    }

    /// Keeps what a sign-in handed over.
    pub fn signed_in(&mut self, tokens: &Value) -> (Client, String, String) {
        let text = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        let access_token = self.planted.secret("access token", &text("access_token"));
        let refresh_token = self.planted.secret("refresh token", &text("refresh_token"));
        let device_token = text("device_token");
        if !device_token.is_empty() {
            self.planted.secret("device token", &device_token);
        }
        let client = self.anybody().with_token(&access_token);
        self.people.push(client.clone());
        (client, refresh_token, device_token)
    }

    /// A password that nobody has used.
    pub fn password(&mut self) -> String {
        let text = format!("staple {}", Uuid::new_v4().simple());
        self.planted.secret("password", &text)
    }

    pub fn register(&mut self, name: &str) -> Account {
        let email = format!("{name}-{}@example.org", &Uuid::new_v4().simple().to_string()[..12]);
        let password = self.password();
        let body = json!({"email": email, "password": password, "display_name": name});
        let reply = self.post(&self.anybody(), "/api/v1/auth/register", &body);
        let tokens = self.planted.right("password", &reply);
        let (client, refresh_token, device_token) = self.signed_in(&tokens);
        Account {
            email,
            password,
            client,
            refresh_token,
            device_token,
        }
    }

    /// Somebody whose address is verified: who is not gets no further ways in.
    pub fn verified(&mut self, name: &str) -> Account {
        let account = self.register(name);
        let token = self.mailed("mail token", &account.email, "verify-email?token=");
        let verified = self.post(&account.client, "/api/v1/auth/verify-email", &json!({"token": token}));
        self.planted.right("mail token", &verified);
        account
    }

    /// What stands behind a mark in a mail to an address.
    #[track_caller]
    pub fn mailed(&mut self, kind: &'static str, to: &str, mark: &str) -> String {
        let mut found = String::new();
        let mailbox = &self.mail_server.mailbox;
        let has_come = wait_until(WITHIN, || {
            let mails = mailbox.mails();
            let mail = mails
                .iter()
                .rev()
                .find(|mail| mail.to == to && mail.text.contains(mark));
            found = mail.map(|mail| mail.after(mark)).unwrap_or_default();
            !found.is_empty()
        });
        assert!(has_come, "no mail to {to} with {mark}");
        self.planted.secret(kind, &found)
    }

    pub fn sign_in(&self, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password});
        self.post(&self.anybody(), "/api/v1/auth/login", &body)
    }

    /// Asks for a mail that lets somebody choose another password.
    pub fn forgot(&self, email: &str) {
        let asked = self.post(
            &self.anybody(),
            "/api/v1/auth/forgot-password",
            &json!({"email": email}),
        );
        assert_eq!(asked.status, 202, "{}", asked.text());
    }

    /// Signs in by the provider, with a code that begins so.
    pub fn sign_in_by_provider(&mut self, code: &str) -> Reply {
        let (state, binding) = self.begin_by_provider();
        let code = self
            .planted
            .secret("code of a provider", &format!("{code}-{}", Uuid::new_v4().simple()));
        let body = json!({"state": state, "code": code, "binding": binding});
        self.post(&self.anybody(), "/api/v1/auth/providers/x/finish", &body)
    }

    /// State and binding of a sign-in that has begun.
    pub fn begin_by_provider(&mut self) -> (String, String) {
        let begun = self
            .post(&self.anybody(), "/api/v1/auth/providers/x/start", &json!({}))
            .accepted();
        let url = begun["authorization_url"].as_str().unwrap();
        let (_, rest) = url.split_once("state=").unwrap();
        let state = self
            .planted
            .secret("state of a sign-in", rest.split('&').next().unwrap());
        let binding = self
            .planted
            .secret("state of a sign-in", begun["binding"].as_str().unwrap());
        (state, binding)
    }

    /// A new member's place: their id.
    pub fn place(&self, role: &str) -> String {
        let mut body = json!({"display_name": "Somebody", "role": role});
        if ["teen", "child"].contains(&role) {
            body["consent"] = crate::support::consent();
        }
        let added = self.family.accepted(&self.family.parent, "add-member", &body);
        let added = crate::support::payload(&added, "MemberAdded");
        added["member_id"].as_str().unwrap().to_owned()
    }

    pub fn parent(&self) -> &Person {
        &self.family.parent
    }
}

/// A number nobody has.
pub fn number() -> String {
    format!("+4917{:09}", Uuid::new_v4().as_u128() % 1_000_000_000)
}

/// The same but for one character in its middle: of the same length and alphabet, and another.
pub fn altered(text: &str) -> String {
    let middle = text.len() / 2;
    let (before, rest) = text.split_at(middle);
    let first = rest.chars().next().unwrap();
    let other = match first {
        '0'..='8' => char::from(first as u8 + 1),
        '9' => '0',
        'A' => 'B',
        'a' => 'b',
        c if c.is_ascii_uppercase() => 'A',
        _ => 'a',
    };
    format!("{before}{other}{}", &rest[first.len_utf8()..])
}
