//! A provider of ours, on loopback, that knows whom it is told to know and lies on demand. It speaks OpenID as Google and Apple do,
//! and the ways of Facebook and X.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Begun;

pub const CLIENT_ID: &str = "ours.example.org";
pub const CLIENT_SECRET: &str = "the fake provider's secret";

/// A signing key and what is published of it.
struct Key {
    id: String,
    private: EncodingKey,
    public: Vec<u8>,
}

impl Key {
    fn new(id: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        Self {
            id: id.to_owned(),
            private: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
        }
    }

    fn published(&self) -> Value {
        json!({
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&self.public[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&self.public[33..]),
        })
    }
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Sound,
    Silent,
    /// Until it is told to be otherwise.
    Waiting,
    Huge,
    Redirecting,
    NotJson,
}

/// How it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    Rightly,
    NotAtAll,
    /// HS256, keyed by the public key as it is published.
    ByThePublicKey,
    /// By a key that is not published, under the name of one that is.
    ByAnother,
    ByAnUnknownKey,
    /// With a demand in its header that nobody knows (RFC 7515 §4.1.11).
    WithADemand,
}

/// A code that was given out.
struct Code {
    nonce: String,
    challenge: String,
    redirect_uri: String,
    claims: Value,
}

pub struct Inner {
    pub manner: Manner,
    pub signing: Signing,
    /// Put over the claims of ID tokens.
    pub over: Value,
    /// What userinfo, `me` and `users/me` say; nothing for 404.
    pub userinfo: Option<Value>,
    /// What `debug_token` says.
    pub debug: Value,
    /// How often keys were asked for.
    pub key_looks: usize,
    /// The forms that came to the token endpoint.
    pub forms: Vec<HashMap<String, String>>,
    /// What the authorization headers of those were.
    pub authorizations: Vec<Option<String>>,
    key: Key,
    codes: HashMap<String, Code>,
    url: String,
}

#[derive(Clone)]
pub struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self(Arc::new(Mutex::new(Inner {
            manner: Manner::Sound,
            signing: Signing::Rightly,
            over: json!({}),
            userinfo: None,
            debug: json!({}),
            key_looks: 0,
            forms: Vec::new(),
            authorizations: Vec::new(),
            key: Key::new("first"),
            codes: HashMap::new(),
            url,
        })));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/oauth/access_token", post(token))
            .route("/oauth2/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/me", get(userinfo))
            .route("/users/me", get(userinfo))
            .route("/debug_token", get(debug_token))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        fake
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn url(&self) -> String {
        self.lock().url.clone()
    }

    /// The settings of an installation that trusts its addresses.
    pub fn settings(&self) -> Value {
        json!({"fake": {
            "kind": "openid",
            "title": "Fake",
            "issuer": self.url(),
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "trusts_email": true,
        }})
    }

    pub fn new_key(&self, id: &str) {
        self.lock().key = Key::new(id);
    }

    /// Somebody is sent there, signs in, and comes back with a code.
    pub fn visit(&self, begun: &Begun, claims: Value) -> String {
        assert_eq!(begun.parameter("code_challenge_method"), "S256");
        assert_eq!(begun.parameter("response_type"), "code");
        let code = Code {
            nonce: begun.parameter("nonce"),
            challenge: begun.parameter("code_challenge"),
            redirect_uri: begun.parameter("redirect_uri"),
            claims,
        };
        let name = Uuid::new_v4().to_string();
        self.lock().codes.insert(name.clone(), code);
        name
    }
}

impl Inner {
    fn id_token(&self, code: &Code) -> String {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": code.nonce,
        });
        for more in [&code.claims, &self.over] {
            for (name, value) in more.as_object().unwrap() {
                claims[name] = value.clone();
            }
        }
        let sign = |algorithm, id: &str, key: &EncodingKey| {
            let header = Header {
                kid: Some(id.to_owned()),
                ..Header::new(algorithm)
            };
            encode(&header, &claims, key).unwrap()
        };
        match self.signing {
            Signing::Rightly => sign(Algorithm::ES256, &self.key.id, &self.key.private),
            Signing::ByAnother => sign(Algorithm::ES256, &self.key.id, &Key::new("another").private),
            Signing::ByAnUnknownKey => sign(Algorithm::ES256, "unknown", &Key::new("unknown").private),
            Signing::ByThePublicKey => {
                let public = EncodingKey::from_secret(&self.key.public);
                sign(Algorithm::HS256, &self.key.id, &public)
            }
            Signing::WithADemand => {
                let header = json!({"alg": "ES256", "kid": self.key.id, "crit": ["b64x"], "b64x": true});
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                let signed = format!("{}.{}", part(&header), part(&claims));
                let signature = crypto::sign(signed.as_bytes(), &self.key.private, Algorithm::ES256).unwrap();
                format!("{signed}.{signature}")
            }
            Signing::NotAtAll => {
                let header = json!({"alg": "none", "kid": self.key.id});
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                format!("{}.{}.", part(&header), part(&claims))
            }
        }
    }
}

/// What a manner makes of an answer.
async fn in_its_manner(fake: &Fake, answer: Response) -> Response {
    while fake.lock().manner == Manner::Waiting {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let manner = fake.lock().manner;
    match manner {
        Manner::Sound | Manner::Waiting => answer,
        Manner::Silent => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            answer
        }
        Manner::Huge => "x".repeat(8 << 20).into_response(),
        Manner::Redirecting => Redirect::temporary(&format!("{}/elsewhere", fake.url())).into_response(),
        Manner::NotJson => "<html>".into_response(),
    }
}

async fn discovery(State(fake): State<Fake>) -> Response {
    let url = fake.url();
    let document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
        // As careless as can be: what is trusted is ours to say.
        "id_token_signing_alg_values_supported": ["none", "HS256", "ES256", "RS256"],
    });
    in_its_manner(&fake, Json(document).into_response()).await
}

async fn keys(State(fake): State<Fake>) -> Response {
    let published = {
        let mut inner = fake.lock();
        inner.key_looks += 1;
        // Others' keys, of kinds that are not ours to read, do not matter.
        json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "first"}, {"kty": "quantum"}, inner.key.published()]})
    };
    in_its_manner(&fake, Json(published).into_response()).await
}

async fn token(State(fake): State<Fake>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let answer = {
        let mut inner = fake.lock();
        inner.forms.push(form.clone());
        let authorization = headers
            .get(header::AUTHORIZATION)
            .map(|value| value.to_str().unwrap().to_owned());
        inner.authorizations.push(authorization.clone());
        let given = |name: &str| form.get(name).cloned().unwrap_or_default();
        let secret_in_form = format!("{}:{}", given("client_id"), given("client_secret"));
        let basic = format!(
            "Basic {}",
            STANDARD.encode(format!(
                "{CLIENT_ID}:{}",
                CLIENT_SECRET.replace(' ', "+").replace('\'', "%27")
            ))
        );
        let is_apple = given("client_secret").starts_with("ey");
        if authorization.as_ref() != Some(&basic)
            && secret_in_form != format!("{CLIENT_ID}:{CLIENT_SECRET}")
            && !is_apple
        {
            (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response()
        } else {
            let code = inner.codes.remove(&given("code"));
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier")));
            match code.filter(|code| code.challenge == challenge && code.redirect_uri == given("redirect_uri")) {
                Some(code) => {
                    let tokens = json!({
                        "access_token": "access",
                        "token_type": "Bearer",
                        "id_token": inner.id_token(&code),
                    });
                    Json(tokens).into_response()
                }
                None => (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response(),
            }
        }
    };
    in_its_manner(&fake, answer).await
}

async fn userinfo(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value == "Bearer access");
    let said = fake.lock().userinfo.clone();
    match said {
        Some(said) if bearer || query.get("access_token").is_some_and(|token| token == "access") => {
            Json(said).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn debug_token(State(fake): State<Fake>) -> Json<Value> {
    Json(fake.lock().debug.clone())
}
