//! The gateway as it is shipped: whom it believes, and what its log keeps.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::shipped;
use crate::support::wait_until;

const READY_WITHIN: Duration = Duration::from_secs(30);
const CADDYFILE: &str = "deploy/gateway/Caddyfile";

/// What stands in requests and answers and must not stand in the log.
const PLANTED: &str = "planted-3f9c1e";

#[test]
fn the_gateways_log_is_told_to_leave_out_headers_queries_and_whole_addresses() {
    let words: Vec<_> = shipped(CADDYFILE)
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect();
    let text = words.join(" ");
    for filter in [
        "request>headers delete",
        "resp_headers delete",
        "request>uri regexp \"[?].*\" \"\"",
        "request>remote_ip ip_mask { ipv4 24 ipv6 48 }",
        "request>client_ip ip_mask { ipv4 24 ipv6 48 }",
    ] {
        assert!(text.contains(filter), "{filter}");
    }
    // One log for requests and for what goes wrong with them: a second one would have to be told the same.
    assert_eq!(text.matches(" log {").count(), 1, "{text}");
    assert_eq!(text.matches("format ").count(), 1, "{text}");
    assert!(text.contains("trusted_proxies static {$GATEWAY_TRUSTED_PROXIES} trusted_proxies_strict"));
}

#[test]
fn nothing_of_a_request_is_in_the_gateways_log_but_method_path_and_outcome() {
    let Some(gateway) = Gateway::start("127.0.0.0/8") else {
        return;
    };
    let callback = "/api/v1/auth/providers/google/callback";
    let asked = |path: &str| {
        gateway.ask(
            path,
            &format!("X-Forwarded-For: 203.0.113.77\r\nKinledger-Device: {PLANTED}\r\n"),
        )
    };
    assert!(asked(&format!("{callback}?code={PLANTED}&state={PLANTED}")).starts_with("HTTP/1.1 303 "));
    // An answer that breaks off, and a part that is gone, are troubles that the gateway writes of by itself.
    asked(&format!("/broken?q={PLANTED}"));
    assert!(asked(&format!("/api/v1/families?q={PLANTED}")).starts_with("HTTP/1.1 502 "));
    let is_logged = wait_until(READY_WITHIN, || gateway.log().contains("\"status\":502"));
    let log = gateway.log();
    assert!(is_logged, "{log}");
    for kept in [
        format!("\"method\":\"GET\",\"host\":\"127.0.0.1\",\"uri\":\"{callback}\""),
        "\"uri\":\"/broken\"".to_owned(),
        "\"uri\":\"/api/v1/families\"".to_owned(),
        "\"status\":303".to_owned(),
        "\"duration\":".to_owned(),
        "\"size\":".to_owned(),
        "\"client_ip\":\"203.0.113.0\"".to_owned(),
        "\"remote_ip\":\"127.0.0.0\"".to_owned(),
    ] {
        assert!(log.contains(&kept), "{kept}: {log}");
    }
    for left_out in [
        PLANTED,
        "203.0.113.77",
        "headers",
        "Kinledger-Device",
        "User-Agent",
        "Location",
    ] {
        assert!(!log.contains(left_out), "{left_out}: {log}");
    }
}

#[test]
fn the_gateway_believes_nobody_but_the_proxy_it_is_told_of() {
    let Some(gateway) = Gateway::start("") else {
        return;
    };
    let says = "X-Forwarded-For: 198.51.100.6, 203.0.113.77\r\nX-Forwarded-Proto: https\r\n";
    gateway.ask("/", says);
    let head = gateway.arrived();
    assert_eq!(values(&head, "x-forwarded-for"), ["127.0.0.1"], "{head}");
    assert_eq!(values(&head, "x-forwarded-proto"), ["http"], "{head}");
    drop(gateway);

    // Of what a proxy of ours passes on, only what it wrote itself.
    let gateway = Gateway::start("10.9.8.7 127.0.0.0/8").unwrap();
    gateway.ask("/", says);
    let head = gateway.arrived();
    assert_eq!(values(&head, "x-forwarded-for"), ["203.0.113.77"], "{head}");
    assert_eq!(values(&head, "x-forwarded-proto"), ["https"], "{head}");
}

/// The gateway with stand-ins behind it: command-api answers, query-api is gone. Dropped, it is gone too.
struct Gateway {
    child: Child,
    port: u16,
    folder: TempDir,
    heads: Receiver<String>,
}

impl Gateway {
    /// None where there is no Caddy, or one too old.
    fn start(trusted_proxies: &str) -> Option<Self> {
        if !has_caddy() {
            eprintln!("no caddy from 2.8 on here: what the gateway does in earnest was not looked at");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("kinledger-gateway-").tempdir().unwrap();
        let (address, heads) = command_api();
        let (port, gone) = (free_port(), free_port());
        let child = Command::new("caddy")
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(CADDYFILE))
            .env("GATEWAY_PORT", port.to_string())
            .env("GATEWAY_TRUSTED_PROXIES", trusted_proxies)
            .env("COMMAND_API", address)
            .env("QUERY_API", format!("127.0.0.1:{gone}"))
            .env("HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_DATA_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let gateway = Self {
            child,
            port,
            folder,
            heads,
        };
        let listens = wait_until(READY_WITHIN, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(listens, "{}", gateway.log());
        Some(gateway)
    }

    /// Asks, and gives back the answer whole.
    fn ask(&self, target: &str, headers: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_read_timeout(Some(READY_WITHIN)).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap_or_default();
        answer
    }

    /// The head of the next request that came to command-api.
    fn arrived(&self) -> String {
        self.heads.recv_timeout(READY_WITHIN).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends whoever asks elsewhere, and breaks off at `/broken`. It goes when the test binary does.
fn command_api() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (arrived, heads) = mpsc::channel();
    thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(connection.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            let answer = if head.first().is_some_and(|line| line.contains("/broken")) {
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf".to_owned()
            } else {
                format!(
                    "HTTP/1.1 303 See Other\r\nLocation: /?code={PLANTED}\r\nSet-Cookie: device={PLANTED}\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                )
            };
            // The gateway may have gone, and a test may have heard enough.
            drop(connection.write_all(answer.as_bytes()));
            drop(arrived.send(head.join("\n")));
        }
    });
    (address, heads)
}

/// Is there a Caddy that knows the options of the Caddyfile? One that was built by hand may not know its own number.
fn has_caddy() -> bool {
    let Ok(output) = Command::new("caddy").arg("version").output() else {
        return false;
    };
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (2, 8),
        _ => output.status.success(),
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A header's values, one for each line.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}
