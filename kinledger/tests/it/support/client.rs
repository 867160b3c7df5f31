//! A client: what it sends and what comes back, nothing interpreted.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use serde_json::Value;
use ureq::http::{HeaderValue, Request};
use uuid::Uuid;

/// Where requests go.
pub trait Route: Send + Sync {
    /// The address for a request, such as `http://127.0.0.1:40123`.
    fn base(&self, method: &str, path: &str) -> String;
}

/// One process that answers everything; it may move.
impl Route for RwLock<String> {
    fn base(&self, _method: &str, _path: &str) -> String {
        self.read().unwrap().clone()
    }
}

/// Somebody with a token, or without.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    route: Arc<dyn Route>,
    token: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    pub etag: String,
    /// Every header, as name and value, sorted.
    #[allow(dead_code, reason = "the drills share this file, and read none")]
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    /// The body of a success.
    #[track_caller]
    pub fn accepted(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self.json()
    }

    /// The stable code of a problem, such as `wallet-too-low`; empty when it is none.
    pub fn problem(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["type"]
            .as_str()
            .and_then(|kind| kind.strip_prefix("/problems/"))
            .unwrap_or_default()
            .to_owned()
    }

    /// The status and code of a refusal.
    #[track_caller]
    pub fn refused(&self) -> (u16, String) {
        assert!(self.status >= 400, "{} {}", self.status, self.text());
        assert_eq!(self.content_type, "application/problem+json", "{}", self.text());
        (self.status, self.problem())
    }
}

impl Client {
    pub fn new(route: Arc<dyn Route>) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections_per_host(32)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self {
            agent: config.into(),
            route,
            token: None,
        }
    }

    /// The same connection pool, signed in with a token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// A client with connections of its own.
    pub fn apart(&self) -> Self {
        Self {
            token: self.token.clone(),
            ..Self::new(Arc::clone(&self.route))
        }
    }

    /// A client with connections of its own, which gives up after so long.
    #[allow(dead_code, reason = "the drills use it, which share this file")]
    pub fn impatient(&self, patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .build();
        Self {
            agent: config.into(),
            ..self.clone()
        }
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Where the process listens, such as `127.0.0.1:40123`.
    pub fn address(&self) -> String {
        self.route.base("GET", "/").trim_start_matches("http://").to_owned()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None)
    }

    /// Posts JSON under a fresh key.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_as(path, Uuid::new_v4(), body)
    }

    /// Posts JSON under a known key.
    #[track_caller]
    pub fn post_as(&self, path: &str, key: Uuid, body: &Value) -> Reply {
        self.try_post_as(path, key, body).unwrap()
    }

    /// The same, when the process may die meanwhile.
    pub fn try_post_as(&self, path: &str, key: Uuid, body: &Value) -> Result<Reply, ureq::Error> {
        let key = key.to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        self.try_send("POST", path, &headers, Some(body.to_string().as_bytes()))
    }

    /// Posts a file under a fresh key.
    #[track_caller]
    pub fn post_file(&self, path: &str, bytes: &[u8]) -> Reply {
        let key = Uuid::new_v4().to_string();
        self.send(
            "POST",
            path,
            &[("content-type", "application/octet-stream"), ("idempotency-key", &key)],
            Some(bytes),
        )
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.route.base(method, path)));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = match body {
            Some(body) => self.agent.run(request.body(body.to_vec())?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (content_type, etag, status) = (header("content-type"), header("etag"), answer.status().as_u16());
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let named = answer.headers().iter();
        let mut headers: Vec<_> = named.map(|(name, value)| (name.to_string(), text(value))).collect();
        headers.sort_unstable();
        let body = answer.body_mut().with_config().limit(256 * 1024 * 1024).read_to_vec()?;
        Ok(Reply {
            status,
            content_type,
            etag,
            headers,
            body,
        })
    }
}
