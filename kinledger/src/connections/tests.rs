use axum::{extract::State, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use super::*;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// More than the sockets of both sides hold.
const MUCH: usize = 32 * 1024 * 1024;

struct Server {
    address: SocketAddr,
    held: Arc<Notify>,
    is_held: Arc<Notify>,
    stop: tokio::sync::watch::Sender<bool>,
    serving: JoinHandle<Result<()>>,
}

#[derive(Clone)]
struct Handles {
    held: Arc<Notify>,
    is_held: Arc<Notify>,
}

impl Server {
    async fn start(connections: u32, connection_idle_seconds: u32) -> Self {
        Self::start_sharing(connections, connections, connection_idle_seconds).await
    }

    async fn start_sharing(connections: u32, per_address: u32, connection_idle_seconds: u32) -> Self {
        let (held, is_held) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let handles = Handles {
            held: Arc::clone(&held),
            is_held: Arc::clone(&is_held),
        };
        let router = Router::new()
            .route(
                "/who",
                get(|ConnectInfo(client): ConnectInfo<SocketAddr>| async move { client.to_string() }),
            )
            .route("/much", get(|| async { vec![b'x'; MUCH] }))
            .route(
                "/held",
                get(|State(handles): State<Handles>| async move {
                    handles.is_held.notify_one();
                    handles.held.notified().await;
                    "done"
                }),
            )
            .with_state(handles);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = shutdown::channel();
        let options = ConnectionOptions {
            connections,
            connections_per_address: Some(per_address),
            connection_idle_seconds,
        };
        let server = super::Server {
            listener,
            router,
            options,
            trusted_proxies: vec!["127.0.0.9".parse().unwrap()],
            tls: None,
        };
        Self {
            address,
            held,
            is_held,
            stop,
            serving: tokio::spawn(serve(server, shutdown)),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection of its own, which ends with the answer.
    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(request(path).as_bytes()).await.unwrap();
        stream
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: kinledger\r\nconnection: close\r\n\r\n")
}

/// Everything until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(ANSWER_WITHIN, stream.read_to_end(&mut bytes)).await;
    drop(read.expect("it ends in time"));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn there_are_as_many_places_as_asked_for_and_as_files_allow() {
    assert_eq!(places(1_024, None), 1_024);
    assert_eq!(places(1_024, Some(1_048_576)), 1_024);
    assert_eq!(places(1_024, Some(1_024)), 768);
    assert_eq!(places(1_024, Some(64)), 16);
    assert_eq!(places(8, Some(64)), 8);
    assert!(
        files_max().is_some_and(|files| files > 0),
        "Linux says how many files there may be"
    );
}

#[tokio::test]
async fn clients_that_send_nothing_or_slowly_lose_their_places_to_one_that_asks() {
    let server = Server::start(4, 60).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(server.connect().await);
    }
    let slow = server.connect().await;
    let (slow_reader, mut slow_writer) = slow.into_split();
    let dripping = tokio::spawn(async move {
        for byte in request("/who").bytes().cycle() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if slow_writer.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    // All places are taken, and more clients than that wait before this one.
    let began = Instant::now();
    let answer = rest(server.ask("/who").await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "long before their time is over"
    );
    // And each that comes later takes the place of the one that was idle longest.
    for _ in 0..4 {
        silent.push(server.connect().await);
    }
    assert!(rest(server.ask("/who").await).await.starts_with("HTTP/1.1 200"));
    let last = silent.split_off(7);
    for silent in silent {
        assert_eq!(rest(silent).await, "", "closed without a word");
    }
    let mut slow_reader = slow_reader;
    let mut nothing = Vec::new();
    drop(
        timeout(ANSWER_WITHIN, slow_reader.read_to_end(&mut nothing))
            .await
            .expect("closed in time"),
    );
    assert_eq!(nothing, b"");
    timeout(ANSWER_WITHIN, dripping)
        .await
        .expect("it cannot send any more")
        .unwrap();
    drop(last);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_loses_its_place_and_one_that_waits_long_does_not() {
    let server = Server::start(2, 1).await;
    let held = server.ask("/held").await;
    timeout(ANSWER_WITHIN, server.is_held.notified())
        .await
        .expect("it is asked");
    let greedy = server.ask("/much").await;
    let answer = rest(server.ask("/who").await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The handler took longer than a client may.
    server.held.notify_one();
    assert!(rest(held).await.ends_with("done"));
    assert!(rest_of_broken(greedy).await < MUCH, "its answer was cut off");
    // Who reads gets all of it.
    assert!(rest(server.ask("/much").await).await.len() > MUCH);
}

/// How many bytes came before the connection broke.
async fn rest_of_broken(mut stream: TcpStream) -> usize {
    let mut chunk = vec![0; 1 << 20];
    let mut count = 0;
    let read = async {
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            count += length;
        }
    };
    timeout(ANSWER_WITHIN, read).await.expect("it ends in time");
    count
}

#[tokio::test]
async fn a_handler_is_told_who_the_client_is() {
    let server = Server::start(2, 5).await;
    let stream = server.ask("/who").await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(rest(stream).await.ends_with(&own));
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_head_beyond_its_limit_is_refused() {
    let server = Server::start(2, 5).await;
    let mut stream = server.connect().await;
    let twice = request("/who").replace("close", "keep-alive") + &request("/who");
    stream.write_all(twice.as_bytes()).await.unwrap();
    assert_eq!(rest(stream).await.matches("HTTP/1.1 200").count(), 2);
    let mut stream = server.connect().await;
    let long = request("/who").replace("kinledger", &"k".repeat(2 * BUFFER_BYTES_MAX));
    drop(stream.write_all(long.as_bytes()).await);
    let mut status = [0; 12];
    drop(
        timeout(ANSWER_WITHIN, stream.read_exact(&mut status))
            .await
            .expect("an answer or an end"),
    );
    assert!(status == *b"HTTP/1.1 431" || status == [0; 12], "{status:?}");
    assert!(rest(server.ask("/who").await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn at_shutdown_what_is_in_hand_is_finished_and_nothing_more_is_taken() {
    let server = Server::start(4, 60).await;
    let idle = server.connect().await;
    let held = server.ask("/held").await;
    timeout(ANSWER_WITHIN, server.is_held.notified())
        .await
        .expect("it is asked");
    server.stop.send_replace(true);
    let mut refused = false;
    let began = Instant::now();
    while !refused && began.elapsed() < ANSWER_WITHIN {
        refused = TcpStream::connect(server.address).await.is_err();
        tokio::task::yield_now().await;
    }
    assert!(refused, "nobody listens any more");
    assert!(!server.serving.is_finished(), "it waits for what is in hand");
    server.held.notify_one();
    assert!(rest(held).await.ends_with("done"));
    assert_eq!(rest(idle).await, "");
    timeout(ANSWER_WITHIN, server.serving)
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
}

/// A request from another address of this machine.
async fn ask_from(server: &Server, from: &str, path: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(request(path).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn one_address_cannot_hold_all_places_however_busy_it_keeps_them() {
    let server = Server::start_sharing(4, 2, 60).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(ask_from(&server, "127.0.0.2", "/held").await);
        timeout(ANSWER_WITHIN, server.is_held.notified())
            .await
            .expect("it is asked");
    }
    // Its share is in use: another one of its own is closed, and others are served all the same.
    assert_eq!(rest(ask_from(&server, "127.0.0.2", "/who").await).await, "");
    assert!(
        rest(ask_from(&server, "127.0.0.3", "/who").await)
            .await
            .starts_with("HTTP/1.1 200")
    );
    // What speaks for many has no share.
    for _ in 0..2 {
        held.push(ask_from(&server, "127.0.0.9", "/held").await);
        timeout(ANSWER_WITHIN, server.is_held.notified())
            .await
            .expect("it is asked");
    }
    // Now all places are in use, and whoever comes waits for one.
    let waiting = ask_from(&server, "127.0.0.3", "/who").await;
    server.held.notify_one();
    assert!(rest(waiting).await.starts_with("HTTP/1.1 200"));
    server.held.notify_one();
    server.held.notify_one();
    server.held.notify_one();
    let mut done = 0;
    for held in held {
        done += usize::from(rest(held).await.ends_with("done"));
        server.held.notify_one();
    }
    assert_eq!(done, 4, "nobody with a request in hand lost a place");
}

#[tokio::test]
async fn whoever_idles_makes_room_and_the_one_with_most_connections_first() {
    let server = Server::start_sharing(4, 3, 60).await;
    let modest = TcpStream::connect(server.address).await.unwrap();
    let keep_alive = request("/who").replace("close", "keep-alive");
    let mut greedy = Vec::new();
    for _ in 0..3 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(keep_alive.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        timeout(ANSWER_WITHIN, stream.read_exact(&mut first))
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        greedy.push(stream);
    }
    let began = Instant::now();
    assert!(
        rest(ask_from(&server, "127.0.0.3", "/who").await)
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(began.elapsed() < Duration::from_secs(10), "no time-out was waited for");
    drop(rest(greedy.remove(0)).await);
    // The modest one was there first, idles longest, and keeps its place.
    let mut modest = modest;
    modest.write_all(request("/who").as_bytes()).await.unwrap();
    assert!(rest(modest).await.starts_with("HTTP/1.1 200"));
}
