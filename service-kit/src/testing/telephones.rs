//! A gateway for text messages, for tests: it speaks HTTP on loopback as Twilio's does, and keeps what it takes.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use axum::{Form, Router, extract::State, http::StatusCode, routing::post};

/// How long a test waits for a message.
const WAITS_FOR: Duration = Duration::from_secs(20);

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    /// The number it was for.
    pub to: String,
    /// What it says.
    pub text: String,
}

impl Message {
    /// The code that it begins with.
    ///
    /// # Panics
    /// When it begins with none.
    pub fn code(&self) -> String {
        let first = self.text.split(' ').next().unwrap_or_default();
        let is_code = first.len() == 6 && first.bytes().all(|byte| byte.is_ascii_digit());
        assert!(is_code, "no code: {}", self.text);
        first.to_owned()
    }
}

/// A running gateway; it lives as long as the test's process.
#[derive(Clone, Debug)]
pub struct Telephones {
    address: SocketAddr,
    messages: Arc<(Mutex<Vec<Message>>, Condvar)>,
}

impl Telephones {
    /// Starts a gateway that takes everything.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        listener.set_nonblocking(true).expect("a listener of our own");
        let telephones = Self {
            address: listener.local_addr().expect("a listener has an address"),
            messages: Arc::default(),
        };
        let router = Router::new()
            .route("/Messages.json", post(take))
            .with_state(telephones.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serving = async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener of our own");
                axum::serve(listener, router).await
            };
            runtime.expect("a thread can wait").block_on(serving)
        });
        telephones
    }

    /// Its address, as the settings take it.
    pub fn url(&self) -> String {
        format!("http://{}/Messages.json", self.address)
    }

    /// Everything taken so far.
    pub fn messages(&self) -> Vec<Message> {
        self.lock().clone()
    }

    /// The `count`th message of all, once there are so many. Blocks; use it from `spawn_blocking` in async tests that run on one
    /// thread.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for(&self, count: usize) -> Message {
        let until = Instant::now() + WAITS_FOR;
        let mut messages = self.lock();
        while messages.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no message came");
            (messages, _) = self
                .messages
                .1
                .wait_timeout(messages, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        messages[count - 1].clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(telephones): State<Telephones>, Form(mut form): Form<HashMap<String, String>>) -> StatusCode {
    let mut field = |name| form.remove(name).unwrap_or_default();
    let message = Message {
        to: field("To"),
        text: field("Body"),
    };
    telephones.lock().push(message);
    telephones.messages.1.notify_all();
    StatusCode::CREATED
}
