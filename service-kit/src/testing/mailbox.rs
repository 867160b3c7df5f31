//! A mail server for tests: it speaks SMTP on loopback, keeps what it takes, and can be slow or refuse.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for a mail.
const WAITS_FOR: Duration = Duration::from_secs(20);

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Whom it was for (`RCPT TO`).
    pub to: String,
    /// The headers, unfolded by nobody.
    pub headers: String,
    /// The text, with quoted-printable undone.
    pub text: String,
}

impl Mail {
    /// The value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> String {
        let found = self.headers.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        });
        found.unwrap_or_default()
    }

    /// What stands in the text after `mark`, up to the next white space.
    ///
    /// # Panics
    /// When the mark is not there.
    pub fn after(&self, mark: &str) -> String {
        let (_, rest) = self
            .text
            .split_once(mark)
            .unwrap_or_else(|| panic!("{mark} is not in {}", self.text));
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes everything.
    Takes,
    /// It takes connections and says nothing.
    Silent,
    /// It answers `RCPT TO` with this reply.
    Refuses(&'static str),
    /// It offers STARTTLS, as [`converse`] understands it.
    OffersTls,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    mails: Vec<Mail>,
    connections: usize,
}

/// A running server; it lives as long as the test's process.
#[derive(Clone, Debug)]
pub struct Mailbox {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Mailbox {
    /// Starts a server that takes everything.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start() -> Self {
        Self::start_with(Behaviour::Takes, |mailbox, stream| {
            drop(mailbox.converse(stream));
        })
    }

    /// Starts a server whose connections are handled by `handle`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start_with(behaviour: Behaviour, handle: impl Fn(&Self, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        let state = State {
            behaviour,
            mails: Vec::new(),
            connections: 0,
        };
        let mailbox = Self {
            address: listener.local_addr().expect("a listener has an address"),
            state: Arc::new((Mutex::new(state), Condvar::new())),
        };
        let (server, handle) = (mailbox.clone(), Arc::new(handle));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, handle) = (server.clone(), Arc::clone(&handle));
                server.lock().connections += 1;
                server.state.1.notify_all();
                thread::spawn(move || handle(&server, stream));
            }
        });
        mailbox
    }

    /// Its address, as the settings take it.
    pub fn url(&self) -> String {
        format!("smtp-plain://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves otherwise from the next connection on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Everything taken so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.lock().mails.clone()
    }

    /// The mails for one address, once there are `count` at least. Blocks; use it from `spawn_blocking` in async tests that
    /// run on one thread.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for(&self, to: &str, count: usize) -> Vec<Mail> {
        self.wait_until(|state| state.mails.iter().filter(|mail| mail.to == to).count() >= count)
            .mails
            .iter()
            .filter(|mail| mail.to == to)
            .cloned()
            .collect()
    }

    /// Waits until there were so many connections.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for_connections(&self, count: usize) {
        drop(self.wait_until(|state| state.connections >= count));
    }

    fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let until = Instant::now() + WAITS_FOR;
        let mut state = self.lock();
        while !is_so(&state) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "what was waited for did not come: {state:?}");
            (state, _) = self
                .state
                .1
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks SMTP until the client goes, or begins TLS: then the stream is given back, with true.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn converse<S: Read + Write>(&self, mut stream: S) -> io::Result<(S, bool)> {
        stream.write_all(if self.silence() { b"" } else { b"220 mailbox\r\n" })?;
        self.after_greeting(stream)
    }

    /// The same without a greeting, as after STARTTLS.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn after_greeting<S: Read + Write>(&self, stream: S) -> io::Result<(S, bool)> {
        let mut lines = BufReader::new(stream);
        let mut to = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok((lines.into_inner(), false));
            }
            let behaviour = self.lock().behaviour;
            let verb = line.trim_end().to_ascii_uppercase();
            let reply = match verb.split([' ', ':']).next().unwrap_or_default() {
                _ if behaviour == Behaviour::Silent => continue,
                "EHLO" if behaviour == Behaviour::OffersTls => "250-mailbox\r\n250 STARTTLS",
                "EHLO" => "250-mailbox\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
                "STARTTLS" if behaviour == Behaviour::OffersTls => {
                    lines.get_mut().write_all(b"220 go on\r\n")?;
                    return Ok((lines.into_inner(), true));
                }
                "AUTH" => "235 2.7.0 welcome",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    match behaviour {
                        Behaviour::Refuses(reply) => reply,
                        _ => "250 ok",
                    }
                }
                "DATA" => {
                    lines.get_mut().write_all(b"354 go on\r\n")?;
                    let mail = read_mail(&mut lines, &to)?;
                    self.lock().mails.push(mail);
                    self.state.1.notify_all();
                    "250 2.0.0 taken"
                }
                "QUIT" => {
                    lines.get_mut().write_all(b"221 bye\r\n")?;
                    return Ok((lines.into_inner(), false));
                }
                _ => "250 ok",
            };
            lines.get_mut().write_all(format!("{reply}\r\n").as_bytes())?;
        }
    }

    fn silence(&self) -> bool {
        self.lock().behaviour == Behaviour::Silent
    }
}

fn read_mail(lines: &mut impl BufRead, to: &str) -> io::Result<Mail> {
    let mut whole = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line == ".\r\n" {
            break;
        }
        whole.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
    let (headers, text) = whole.split_once("\r\n\r\n").unwrap_or((&whole, ""));
    let is_quoted = headers.to_ascii_lowercase().contains("quoted-printable");
    Ok(Mail {
        to: to.to_owned(),
        headers: headers.to_owned(),
        text: if is_quoted { unquoted(text) } else { text.to_owned() },
    })
}

/// Undoes quoted-printable (RFC 2045 §6.7).
fn unquoted(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'=', [b'\r', b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let byte = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.extend(byte);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
