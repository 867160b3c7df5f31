//! What a process really asks of Postgres: a listener between it and the server that notes every statement on the wire.
//!
//! It counts what the server's own statistics do not show, such as the question whether a pooled connection is still alive,
//! and it needs no extension. It understands as much of the protocol as clients send without TLS: a start-up packet, then
//! messages of one byte, a length and a body.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

use super::TestDatabase;

/// The code of a start-up packet of protocol 3.0; others (a question for TLS) are answered and followed by another packet.
const PROTOCOL_3: [u8; 4] = [0, 3, 0, 0];

/// Something a client sent and waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A statement was executed. Its text.
    Statement(String),
    /// A statement was prepared, once per connection. Its text.
    Prepared(String),
    /// Nothing but a question whether the connection is alive.
    Ping,
}

/// The listener. Ends when dropped.
pub struct Wire {
    url: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    listening: JoinHandle<()>,
}

impl Wire {
    /// Listens in front of a test's database.
    ///
    /// # Panics
    /// When no port can be opened on loopback.
    pub async fn to(database: &TestDatabase) -> Self {
        let options: PgConnectOptions = database.url().parse().expect("the test database has an address");
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let name = options.get_database().expect("a test's database has a name").to_owned();
        let url = format!("postgres://{}@{address}/{name}", options.get_username());
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let seen = Arc::clone(&sent);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), Arc::clone(&seen)));
            }
        });
        Self { url, sent, listening }
    }

    /// The database's address through this listener.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The statements that were executed since the last call; what else was sent is forgotten.
    pub fn take_statements(&self) -> Vec<String> {
        let statements = self.take().into_iter().filter_map(|sent| match sent {
            Sent::Statement(text) => Some(text),
            Sent::Prepared(_) | Sent::Ping => None,
        });
        statements.collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass_on(client: TcpStream, server: String, seen: Arc<Mutex<Vec<Sent>>>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever side ends first, the other is closed with it.
    tokio::select! {
        () = noting(from_client, to_server, seen) => {}
        () = unchanged(from_server, to_client) => {}
    }
}

async fn unchanged(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    drop(tokio::io::copy(&mut from, &mut to).await);
}

async fn noting(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: Arc<Mutex<Vec<Sent>>>) {
    let mut chunk = vec![0; 64 * 1024];
    let mut reader = Reader::default();
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        // Before it is passed on: when the answer arrives, the question has been noted.
        let sent = reader.read(&chunk[..length]);
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(sent);
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// One connection's messages, cut out of its bytes.
#[derive(Default)]
struct Reader {
    unread: Vec<u8>,
    has_started: bool,
    /// Texts of prepared statements, and of what is bound to portals, by name.
    statements: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, String>,
    /// Prepared since the last `Sync`, and messages since then.
    prepared: Vec<String>,
    has_executed: bool,
    messages: usize,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) -> Vec<Sent> {
        self.unread.extend_from_slice(bytes);
        let mut sent = Vec::new();
        loop {
            let head = usize::from(self.has_started);
            let Some(length) = self.unread.get(head..head + 4) else {
                return sent;
            };
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if self.unread.len() < head + length {
                return sent;
            }
            let message: Vec<u8> = self.unread.drain(..head + length).collect();
            if self.has_started {
                self.message(message[0], &message[5..], &mut sent);
            } else {
                self.has_started = message[4..].starts_with(&PROTOCOL_3);
            }
        }
    }

    fn message(&mut self, kind: u8, body: &[u8], sent: &mut Vec<Sent>) {
        self.messages += 1;
        match kind {
            b'Q' => sent.push(Sent::Statement(text(body))),
            b'P' => {
                let (name, rest) = cut(body);
                let statement = text(rest);
                self.prepared.push(statement.clone());
                self.statements.insert(name.to_vec(), statement);
            }
            b'B' => {
                let (portal, rest) = cut(body);
                let statement = self.statements.get(cut(rest).0).cloned().unwrap_or_default();
                self.portals.insert(portal.to_vec(), statement);
            }
            b'E' => {
                self.has_executed = true;
                let statement = self.portals.get(cut(body).0).cloned().unwrap_or_default();
                sent.push(Sent::Statement(statement));
            }
            b'S' => {
                let prepared = std::mem::take(&mut self.prepared);
                if !self.has_executed {
                    sent.extend(prepared.into_iter().map(Sent::Prepared));
                }
                if self.messages == 1 {
                    sent.push(Sent::Ping);
                }
            }
            _ => {}
        }
        if matches!(kind, b'S' | b'Q' | b'p') {
            self.messages = 0;
            self.has_executed = false;
        }
    }
}

/// A text that ends in a zero byte, and what comes after it.
fn cut(body: &[u8]) -> (&[u8], &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
    (&body[..end], body.get(end + 1..).unwrap_or_default())
}

fn text(body: &[u8]) -> String {
    let (text, _) = cut(body);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a short message");
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn statements_are_cut_out_of_bytes_that_arrive_in_any_pieces() {
        let bytes = [
            &[0, 0, 0, 8, 4, 210, 22, 47][..],
            &[0, 0, 0, 9, 0, 3, 0, 0, 0],
            &message(b'Q', b"set role x\0"),
            &message(b'P', b"s1\0select $1\0\0\0"),
            &message(b'D', b"Ss1\0"),
            &message(b'S', b""),
            &message(b'B', b"\0s1\0\0\0"),
            &message(b'E', b"\0\0\0\0\0"),
            &message(b'S', b""),
            &message(b'S', b""),
        ]
        .concat();
        let wanted = [
            Sent::Statement("set role x".to_owned()),
            Sent::Prepared("select $1".to_owned()),
            Sent::Statement("select $1".to_owned()),
            Sent::Ping,
        ];
        for size in 1..bytes.len() {
            let mut reader = Reader::default();
            let sent: Vec<Sent> = bytes.chunks(size).flat_map(|chunk| reader.read(chunk)).collect();
            assert_eq!(sent, wanted, "in pieces of {size}");
        }
    }
}
