//! Channels, against servers on loopback.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use connectors::channels::{CHANNELS, Channels, Full, MAIL, Message, Pace, QUEUED_MAX, SMS, SendError, Settings};
use service_kit::testing::mailbox::{Behaviour, Mailbox};
use uuid::Uuid;

fn message(to: &str, text: &str) -> Message {
    Message {
        id: Uuid::new_v4(),
        to: to.to_owned(),
        subject: "Für Dich".to_owned(),
        text: text.to_owned(),
        useful_for: Duration::from_secs(60),
    }
}

fn mail(url: String) -> Settings {
    Settings {
        smtp_url: Some(url),
        mail_from: Some("Kinledger <kinledger@example.org>".to_owned()),
        timeout: Some(Duration::from_millis(500)),
        pace: Pace {
            pauses: vec![Duration::from_millis(100), Duration::from_millis(100)],
        },
        ..Settings::default()
    }
}

fn send(settings: &Settings, name: &str, message: &Message) -> Result<(), SendError> {
    let kind = CHANNELS.iter().find(|kind| kind.name == name).unwrap();
    (kind.open)(settings).unwrap().unwrap().send(message)
}

#[test]
fn the_list_of_channels_names_each_once() {
    let names: Vec<&str> = CHANNELS.iter().map(|kind| kind.name).collect();
    assert_eq!(names, [MAIL, SMS]);
    let none = Channels::open(&Settings::default()).unwrap();
    assert!(none.get(MAIL).is_none() && none.get(SMS).is_none());
}

#[test]
fn a_mail_arrives_whole_and_says_that_a_machine_wrote_it() {
    let mailbox = Mailbox::start();
    let channels = Channels::open(&mail(mailbox.url())).unwrap();
    let message = message(
        "ada@example.org",
        "Grüße, Ada\n.\nhttps://kinledger.example/#/verify?token=abc\n",
    );
    let id = message.id;
    channels.get(MAIL).unwrap().post(message).unwrap();
    let mails = mailbox.wait_for("ada@example.org", 1);
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].header("Message-ID"), format!("<{id}@example.org>"));
    assert_eq!(mails[0].header("Auto-Submitted"), "auto-generated");
    assert!(
        mails[0].text.contains("Grüße, Ada\r\n.\r\nhttps://kinledger"),
        "{}",
        mails[0].text
    );
    assert_eq!(mails[0].after("token="), "abc");
}

#[test]
fn nothing_is_sent_in_clear_where_tls_was_asked_for() {
    let mailbox = Mailbox::start();
    let settings = Settings {
        smtp_password: Some("a secret of the mail server".to_owned()),
        ..mail(format!("smtp://ada@127.0.0.1:{}", mailbox.port()))
    };
    let refused = send(&settings, MAIL, &message("ada@example.org", "code 123456")).unwrap_err();
    assert!(matches!(refused, SendError::Later(_)), "{refused}");
    assert!(!refused.to_string().contains("secret"), "{refused}");
    assert!(mailbox.mails().is_empty());
}

#[test]
fn starttls_is_used_with_a_certificate_we_trust_and_with_no_other() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let config = Arc::new(tls_server(&certified));
    let mailbox = Mailbox::start_with(Behaviour::OffersTls, move |mailbox, stream| {
        let Ok((stream, true)) = mailbox.converse(stream) else {
            return;
        };
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        drop(mailbox.after_greeting(rustls::StreamOwned::new(connection, stream)));
    });
    let strangers = mail(format!("smtp://localhost:{}", mailbox.port()));
    assert!(send(&strangers, MAIL, &message("ada@example.org", "hello")).is_err());
    assert!(mailbox.mails().is_empty());

    let trusting = Settings {
        smtp_authorities_pem: Some(certified.cert.pem().into_bytes()),
        ..strangers
    };
    send(&trusting, MAIL, &message("ada@example.org", "hello")).unwrap();
    assert_eq!(mailbox.mails().len(), 1);
}

fn tls_server(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> rustls::ServerConfig {
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap()
}

#[test]
fn what_the_server_says_decides_whether_to_try_again() {
    let mailbox = Mailbox::start();
    let settings = mail(mailbox.url());
    let refusal = |reply| {
        mailbox.behave(Behaviour::Refuses(reply));
        send(&settings, MAIL, &message("ada@example.org", "hello")).unwrap_err()
    };
    // In its codes, and not in its words: they may repeat the letter.
    assert_eq!(
        refusal("554 5.7.1 the link https://kinledger.example/#/reset-password?token=abc is known").to_string(),
        "the message was refused: status 554 5.7.1"
    );
    assert_eq!(
        refusal("554 token=abc").to_string(),
        "the message was refused: status 554"
    );
    assert!(matches!(refusal("450 4.2.0 greylisted"), SendError::Later(_)));
    assert!(matches!(refusal("550 5.1.1 no such user"), SendError::AddressDead(_)));
    assert!(matches!(refusal("550 5.7.1 not from you"), SendError::Operator(_)));
    assert!(matches!(refusal("554 5.6.0 not that"), SendError::Rejected(_)));
    assert!(matches!(
        send(&settings, MAIL, &message("not an address", "hello")),
        Err(SendError::AddressDead(_))
    ));
}

#[test]
fn a_server_that_comes_back_gets_the_message_under_the_same_id() {
    let mailbox = Mailbox::start();
    mailbox.behave(Behaviour::Refuses("450 4.2.0 later"));
    let channels = Channels::open(&mail(mailbox.url())).unwrap();
    let message = message("ada@example.org", "hello");
    let id = message.id;
    channels.get(MAIL).unwrap().post(message).unwrap();
    mailbox.wait_for_connections(1);
    mailbox.behave(Behaviour::Takes);
    let mails = mailbox.wait_for("ada@example.org", 1);
    assert_eq!(mails[0].header("Message-ID"), format!("<{id}@example.org>"));
}

#[test]
fn a_message_is_tried_three_times_at_this_pace_and_no_more() {
    let mailbox = Mailbox::start();
    mailbox.behave(Behaviour::Refuses("450 4.2.0 later"));
    let channels = Channels::open(&mail(mailbox.url())).unwrap();
    let outbox = channels.get(MAIL).unwrap();
    outbox.post(message("ada@example.org", "hello")).unwrap();
    mailbox.wait_for_connections(3);
    // The second message's tries last twice as long as the pause before a fourth of the first would.
    outbox.post(message("bob@example.org", "hello")).unwrap();
    mailbox.wait_for_connections(6);
    assert_eq!(mailbox.connections(), 6);
    assert!(mailbox.mails().is_empty());
}

#[test]
fn a_silent_server_blocks_nobody_and_its_queue_has_an_end() {
    let mailbox = Mailbox::start();
    mailbox.behave(Behaviour::Silent);
    let settings = Settings {
        timeout: Some(Duration::from_secs(30)),
        ..mail(mailbox.url())
    };
    let channels = Channels::open(&settings).unwrap();
    let outbox = channels.get(MAIL).unwrap();
    let begun = Instant::now();
    let mut taken = 0;
    let refused = loop {
        match outbox.post(message("ada@example.org", "hello")) {
            Ok(()) => taken += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(refused, Full);
    assert!((QUEUED_MAX..=QUEUED_MAX + 1).contains(&taken), "{taken}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A gateway that answers once with this status and body, and the request it got.
fn gateway(status: &'static str, body: &'static str) -> (Settings, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&got);
    thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut whole = String::new();
        while !whole.ends_with("\r\n\r\n") {
            stream.read_line(&mut whole).unwrap();
        }
        let lower = whole.to_lowercase();
        let (_, length) = lower.split_once("content-length:").unwrap();
        let mut form = vec![0; length.lines().next().unwrap().trim().parse().unwrap()];
        stream.read_exact(&mut form).unwrap();
        *kept.lock().unwrap() = whole + &String::from_utf8(form).unwrap();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
    });
    let settings = Settings {
        sms_url: Some(format!("http://127.0.0.1:{port}/Messages.json")),
        sms_account: Some("AC1".to_owned()),
        sms_token: Some("token".to_owned()),
        sms_from: Some("+15005550006".to_owned()),
        timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    };
    (settings, got)
}

#[test]
fn a_text_message_goes_to_the_gateway_as_a_form() {
    let (settings, got) = gateway("201 Created", "{}");
    send(&settings, SMS, &message("+491701234567", "123456 is your code")).unwrap();
    let got = got.lock().unwrap();
    assert!(got.starts_with("POST /Messages.json "), "{got}");
    assert!(got.contains("Basic QUMxOnRva2Vu"), "{got}");
    assert!(
        got.ends_with("To=%2B491701234567&From=%2B15005550006&Body=123456+is+your+code"),
        "{got}"
    );
}

#[test]
fn what_the_gateway_says_decides_whether_to_try_again() {
    let refusal = |status, body| {
        let (settings, _) = gateway(status, body);
        send(&settings, SMS, &message("+15005550001", "hello")).unwrap_err()
    };
    assert!(matches!(
        refusal("400 Bad Request", r#"{"code":21211}"#),
        SendError::AddressDead(_)
    ));
    assert!(matches!(
        refusal("401 Unauthorized", r#"{"code":20003}"#),
        SendError::Operator(_)
    ));
    assert!(matches!(refusal("429 Too Many Requests", "{}"), SendError::Later(_)));
    assert!(matches!(
        refusal("503 Service Unavailable", "down"),
        SendError::Later(_)
    ));
    assert!(matches!(
        refusal("400 Bad Request", r#"{"code":21602}"#),
        SendError::Rejected(_)
    ));
    assert!(matches!(refusal("302 Found", ""), SendError::Rejected(_)));
}

#[test]
fn a_gateway_without_tls_is_for_loopback_only() {
    let settings = Settings {
        sms_url: Some("http://sms.example.org/Messages.json".to_owned()),
        sms_from: Some("Kinledger".to_owned()),
        ..Settings::default()
    };
    assert!(Channels::open(&settings).is_err());
}
