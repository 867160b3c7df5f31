//! The servers that an installation speaks to: a mail server behind TLS, a provider to sign in by, and such as repeat whatever they
//! are sent when they refuse it.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use service_kit::testing::mailbox::{Behaviour, Mailbox};
use uuid::Uuid;

use super::world::Settings;
use crate::support::wait_until;

type Tls = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

pub const MAIL_USER: &str = "ledger";
pub const CLIENT_ID: &str = "ours.example.org";
pub const SMS_ACCOUNT: &str = "AC0123456789";

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A certificate of this machine, and what serves by it.
fn certified() -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}

fn encrypted(config: &Arc<rustls::ServerConfig>, stream: TcpStream) -> Tls {
    let connection = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

/// What a client that shows this password sends in base64 (RFC 4616).
fn plain(password: &str) -> String {
    STANDARD.encode(format!("\0{MAIL_USER}\0{password}"))
}

/// A mail server that takes everything, behind TLS.
pub struct MailServer {
    pub mailbox: Mailbox,
    pub authority: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl MailServer {
    pub fn start() -> Self {
        let (config, authority) = certified();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        let mailbox = Mailbox::start_with(Behaviour::Takes, move |mailbox, stream| {
            let stream = Heard(encrypted(&config, stream), Arc::clone(&kept));
            drop(mailbox.converse(stream));
        });
        Self {
            mailbox,
            authority,
            heard,
        }
    }

    pub fn url(&self) -> String {
        format!("smtps://{MAIL_USER}@localhost:{}", self.mailbox.port())
    }

    pub fn was_told_the_password(&self, password: &str) -> bool {
        String::from_utf8_lossy(&locked(&self.heard)).contains(&plain(password))
    }
}

/// A stream of which is kept what came over it.
struct Heard<S>(S, Arc<Mutex<Vec<u8>>>);

impl<S: Read> Read for Heard<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(bytes)?;
        locked(&self.1).extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

impl<S: Write> Write for Heard<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A provider as X is one. Codes that begin with `good` are good; of any other it says all that it was sent.
#[derive(Clone)]
pub struct Provider {
    address: SocketAddr,
    pub access_token: String,
    told: Arc<Mutex<Vec<(&'static str, String)>>>,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            access_token: format!("xat-{}", Uuid::new_v4().simple()),
            told: Arc::default(),
        };
        let router = Router::new()
            .route("/oauth2/token", post(token))
            .route("/users/me", get(me))
            .route("/Messages.json", post(message))
            .with_state(provider.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        provider
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it was shown this secret of ours.
    pub fn was_told(&self, secret: &str) -> bool {
        let shown = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{secret}")));
        locked(&self.told).iter().any(|(_, said)| said.contains(&shown))
    }
}

fn said(headers: &HeaderMap, form: &HashMap<String, String>) -> String {
    format!("{:?} {form:?}", headers.get("authorization"))
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let said = said(&headers, &form);
    locked(&provider.told).push(("code of a provider", said.clone()));
    if form.get("code").is_some_and(|code| code.starts_with("good")) {
        return Json(json!({"access_token": provider.access_token, "token_type": "bearer"})).into_response();
    }
    let refusal = json!({"error": said, "error_description": said, "error_uri": said});
    (StatusCode::BAD_REQUEST, Json(refusal)).into_response()
}

async fn me() -> Json<Value> {
    Json(json!({"data": {"id": "4711", "name": "Xenia", "username": "xenia"}}))
}

/// A gateway that refuses a message and repeats it.
async fn message(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let said = said(&headers, &form);
    locked(&provider.told).push(("text message", form["Body"].clone()));
    (
        StatusCode::BAD_REQUEST,
        Json(json!({"code": 21_602, "message": said, "more_info": said})),
    )
        .into_response()
}

/// Servers that refuse everything and repeat it.
pub struct Echoing {
    gateway: Provider,
    mail_port: u16,
    authority: String,
    refused: Arc<Mutex<Vec<(&'static str, String)>>>,
    /// The tokens of letters, by whom they were for.
    letters: Arc<Mutex<Vec<(String, String)>>>,
}

impl Echoing {
    pub fn start() -> Self {
        let (config, authority) = certified();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mail_port = listener.local_addr().unwrap().port();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let letters = Arc::new(Mutex::new(Vec::new()));
        let (kept, read) = (Arc::clone(&refused), Arc::clone(&letters));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(refuse_mail(encrypted(&config, stream), &kept, &read));
            }
        });
        Self {
            gateway: Provider::start(),
            mail_port,
            authority,
            refused,
            letters,
        }
    }

    /// Settings of an installation that sends by them.
    pub fn settings(&self) -> Settings {
        let mail = format!("smtps://{MAIL_USER}@localhost:{}", self.mail_port);
        Settings::new(mail, &self.authority, format!("{}/Messages.json", self.gateway.url()))
    }

    /// A password, a letter and a message.
    pub fn has_refused_all(&self) -> bool {
        let has = |kind: &str| locked(&self.refused).iter().any(|(refused, _)| *refused == kind);
        has("SMTP password") && has("letter") && !locked(&self.gateway.told).is_empty()
    }

    /// The token of the first letter to an address.
    #[track_caller]
    pub fn letter(&self, address: &str) -> String {
        let first = || {
            let letters = locked(&self.letters);
            let letter = letters.iter().find(|(to, _)| to == address);
            letter.map(|(_, token)| token.clone())
        };
        assert!(
            wait_until(Duration::from_secs(30), || first().is_some()),
            "no letter came"
        );
        first().unwrap()
    }

    /// What they said again, by what it is.
    pub fn repeated(&self) -> Vec<(&'static str, String)> {
        let mut all = locked(&self.refused).clone();
        all.extend(locked(&self.gateway.told).iter().cloned());
        all
    }
}

/// A conversation in which the first password is refused, and every letter, in words that repeat them.
fn refuse_mail(
    mut stream: Tls,
    refused: &Mutex<Vec<(&'static str, String)>>,
    letters: &Mutex<Vec<(String, String)>>,
) -> io::Result<()> {
    let mut to = String::new();
    stream.write_all(b"220 mailbox\r\n")?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mailbox\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                let is_first = !locked(refused).iter().any(|(kind, _)| *kind == "SMTP password");
                let shown = line.rsplit(' ').next().unwrap_or_default().to_owned();
                locked(refused).push(("SMTP password", shown.clone()));
                if is_first {
                    format!("535 5.7.8 not {shown}")
                } else {
                    "235 2.7.0 welcome".to_owned()
                }
            }
            "RCPT" => {
                line.split(['<', '>']).nth(1).unwrap_or_default().clone_into(&mut to);
                "250 ok".to_owned()
            }
            "DATA" => {
                lines.get_mut().write_all(b"354 go on\r\n")?;
                let token = read_letter(&mut lines)?;
                locked(refused).push(("letter", token.clone()));
                locked(letters).push((to.clone(), token.clone()));
                format!("554 5.7.1 blocked: {token}")
            }
            "QUIT" => return Ok(()),
            _ => "250 ok".to_owned(),
        };
        lines.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// The token of a letter, as a filter that dislikes its link would name it.
fn read_letter(lines: &mut impl BufRead) -> io::Result<String> {
    let mut letter = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line == ".\r\n" {
            break;
        }
        letter.push_str(&line);
    }
    // Long lines of quoted-printable are broken by an equals sign.
    let letter = letter.replace("=\r\n", "");
    let token = letter.split_whitespace().find(|word| word.starts_with("klm_"));
    Ok(token.unwrap_or_default().to_owned())
}
