//! Checkpoints on their way out: to files, to a server that goes away and comes back, and to an object store that checks
//! signatures.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use event_store::seal::{SealSettings, SealStatus, run, witness::Witness};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::sealed::{Sealed, family, named, verdict_with, wait};
use crate::export::{LANE, append, random_ledger::random_ledger};

const ACCESS_KEY: &str = "AKIAEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[derive(Clone, Default)]
pub struct Place {
    pub files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub is_away: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    checks_signatures: bool,
}

impl Place {
    pub async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn notes(&self) -> usize {
        self.files
            .lock()
            .unwrap()
            .keys()
            .filter(|name| name.ends_with(".note"))
            .count()
    }
}

async fn answer(State(place): State<Place>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 24)
        .await
        .unwrap_or_else(|_| Bytes::new());
    let is_allowed = if place.checks_signatures {
        is_signed(&parts.method, &parts.uri, &parts.headers)
    } else {
        parts
            .headers
            .get(header::AUTHORIZATION)
            .is_some_and(|value| value == "Bearer open sesame")
    };
    if place.is_away.load(Ordering::SeqCst) || !is_allowed {
        place.refused.fetch_add(1, Ordering::SeqCst);
        let status = if is_allowed {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::FORBIDDEN
        };
        return status.into_response();
    }
    let name = parts.uri.path().to_owned();
    let mut files = place.files.lock().unwrap();
    match parts.method {
        Method::GET => files.get(&name).map_or(StatusCode::NOT_FOUND.into_response(), |bytes| {
            bytes.clone().into_response()
        }),
        Method::PUT if parts.headers.contains_key(header::IF_NONE_MATCH) && files.contains_key(&name) => {
            StatusCode::PRECONDITION_FAILED.into_response()
        }
        Method::PUT => {
            files.insert(name, bytes.to_vec());
            StatusCode::OK.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// AWS Signature Version 4 in the query, computed here from Amazon's description.
fn is_signed(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some(query) = uri.query() else { return false };
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let Some(given) = pairs.iter().find_map(|pair| pair.strip_prefix("X-Amz-Signature=")) else {
        return false;
    };
    let rest: Vec<&str> = pairs
        .iter()
        .copied()
        .filter(|pair| !pair.starts_with("X-Amz-Signature="))
        .collect();
    let values: HashMap<&str, &str> = rest.iter().filter_map(|pair| pair.split_once('=')).collect();
    let scope = values["X-Amz-Credential"].replace("%2F", "/");
    let Some((ACCESS_KEY, scope)) = scope.split_once('/') else {
        return false;
    };
    let host = headers[header::HOST].to_str().unwrap();
    let request = format!(
        "{method}\n{}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD",
        uri.path(),
        rest.join("&")
    );
    let at = values["X-Amz-Date"];
    let text = format!(
        "AWS4-HMAC-SHA256\n{at}\n{scope}\n{}",
        hex::encode(Sha256::digest(request))
    );
    let hmac = |key: &[u8], text: &str| {
        let mut hmac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        hmac.update(text.as_bytes());
        hmac.finalize().into_bytes().to_vec()
    };
    let key = scope
        .split('/')
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| hmac(&key, part));
    hex::encode(hmac(&key, &text)) == given
}

async fn checkpoints(sealed: &Sealed) -> usize {
    let count: i64 = sqlx::query_scalar("select count(*) from log.checkpoints")
        .fetch_one(sealed.whole.pool())
        .await
        .unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn files_are_written_once_each_and_what_is_missing_is_written_later() {
    let mut sealed = Sealed::new().await;
    let witnesses = std::mem::take(&mut sealed.settings.witnesses);
    let facts = random_ledger(family(1), 1, 40);
    for part in 1..=3 {
        append(
            &sealed.log,
            family(1),
            &facts[..facts.len() * part / 3],
            facts.len() * (part - 1) / 3,
        )
        .await;
        sealed.seal().await;
    }
    assert!(!sealed.kept_folder().exists());
    sealed.settings.witnesses = witnesses;
    sealed.seal().await;
    let folder = sealed.kept_folder().join(format!("lane-{LANE}"));
    let names = |ending: &str| {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|end| end == ending))
            .count()
    };
    assert_eq!((names("note"), names("leaves")), (3, 3));
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        7,
        "and the latest; no draft is left"
    );
    let report = verdict_with(
        sealed.pack(family(1)).await,
        &sealed.key().await,
        family(1),
        Some(&sealed.kept_folder()),
    );
    assert!(report.is_whole(), "{:?}", report.faults);
    assert_eq!((report.kept_checkpoints, report.kept_events), (3, facts.len() as u64));

    // Somebody put another file in the place of one that is about to be written.
    append(&sealed.log, family(2), &random_ledger(family(2), 2, 3), 0).await;
    let next = sealed.whole.lane_head(LANE).await.unwrap();
    std::fs::write(folder.join(format!("{next:020}.note")), "another").unwrap();
    let status = sealed.seal().await;
    assert!(status.check().unwrap_err().contains("holds another"), "{status:?}");
    assert_eq!(
        std::fs::read(folder.join(format!("{next:020}.note"))).unwrap(),
        b"another",
        "and it stays"
    );
    sealed.end().await;
}

#[tokio::test]
async fn a_server_that_is_away_delays_the_export_and_never_the_sealing() {
    let mut sealed = Sealed::new().await;
    let place = Place::default();
    let witness = Witness::parse(&format!("{}/kept", place.serve().await), Some("open sesame")).unwrap();
    sealed.settings = SealSettings {
        every: Duration::from_millis(20),
        witnesses: vec![witness],
        ..sealed.settings
    };
    place.is_away.store(true, Ordering::SeqCst);
    let (stop, stopping) = watch::channel(false);
    let status = SealStatus::default();
    let sealing = tokio::spawn(run(
        sealed.sealer.clone(),
        sealed.settings.clone(),
        status.clone(),
        stopping,
    ));
    let facts = random_ledger(family(1), 1, 30);
    append(&sealed.log, family(1), &facts, 0).await;
    let head = facts.len() as u64;
    let is_sealed = || status.lanes().get(&LANE).is_some_and(|lane| lane.sealed == head);
    wait(is_sealed, "everything is sealed").await;
    wait(|| place.refused.load(Ordering::SeqCst) >= 2, "it was tried again").await;
    assert_eq!(place.notes(), 0);
    place.is_away.store(false, Ordering::SeqCst);
    let wanted = checkpoints(&sealed).await;
    wait(|| place.notes() == wanted, "everything is exported").await;
    stop.send_replace(true);
    sealing.await.unwrap();
    assert_eq!(status.check(), Ok(()));
    let remembered: String = sqlx::query_scalar("select destination from log.checkpoint_exports limit 1")
        .fetch_one(&sealed.sealer)
        .await
        .unwrap();
    assert!(!remembered.contains("sesame"));
    sealed.end().await;
}

#[tokio::test]
async fn what_was_appended_before_the_stop_is_sealed_and_exported_by_it() {
    let mut sealed = Sealed::new().await;
    sealed.settings.every = Duration::from_secs(3_600);
    let (stop, stopping) = watch::channel(false);
    let status = SealStatus::default();
    let sealing = tokio::spawn(run(
        sealed.sealer.clone(),
        sealed.settings.clone(),
        status.clone(),
        stopping,
    ));
    wait(|| status.lanes().len() == 8, "all lanes are looked at").await;
    append(&sealed.log, family(1), &random_ledger(family(1), 1, 10), 0).await;
    stop.send_replace(true);
    sealing.await.unwrap();
    let report = verdict_with(
        sealed.pack(family(1)).await,
        &sealed.key().await,
        family(1),
        Some(&sealed.kept_folder()),
    );
    assert!(report.is_whole() && report.kept_checkpoints == 1, "{:?}", report.faults);
    sealed.end().await;
}

#[tokio::test]
async fn an_object_store_is_asked_with_right_signatures() {
    let mut sealed = Sealed::new().await;
    let place = Place {
        checks_signatures: true,
        ..Place::default()
    };
    let address = format!(
        "s3://audit-bucket/a/prefix?endpoint={}&region=eu-central-1",
        place.serve().await
    );
    sealed.settings.witnesses = vec![Witness::s3(&address, ACCESS_KEY, SECRET_KEY).unwrap()];
    append(&sealed.log, family(1), &random_ledger(family(1), 1, 10), 0).await;
    sealed.seal().await;
    // Twice the same is no fault: the store may have taken what we did not hear of.
    sealed.tamper("delete from log.checkpoint_exports").await;
    let status = sealed.seal().await;
    assert_eq!(status.check(), Ok(()));
    let names: Vec<String> = place.files.lock().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("/audit-bucket/a/prefix/lane-3/")),
        "{names:?}"
    );
    assert_eq!(place.refused.load(Ordering::SeqCst), 0);
    let wrong = Witness::s3(&address, ACCESS_KEY, "another").unwrap();
    sealed.settings.witnesses = vec![wrong];
    sealed.tamper("delete from log.checkpoint_exports").await;
    sealed.seal().await;
    assert!(
        place.refused.load(Ordering::SeqCst) > 0,
        "the store does look at signatures"
    );
    // What it holds convicts whoever signs a rewritten log.
    let note = place.files.lock().unwrap()["/audit-bucket/a/prefix/lane-3/checkpoint"].clone();
    let file = sealed.folder.path().join("note-from-the-store.note");
    std::fs::write(&file, note).unwrap();
    let report = verdict_with(
        sealed.pack(family(1)).await,
        &sealed.key().await,
        family(1),
        Some(&file),
    );
    assert_eq!(
        (named(&report), report.kept_checkpoints),
        (None, 1),
        "{:?}",
        report.faults
    );
    sealed.end().await;
}

#[tokio::test]
async fn two_stores_of_one_bucket_name_are_both_given_everything() {
    let mut sealed = Sealed::new().await;
    let places = [Place::default(), Place::default()].map(|place| Place {
        checks_signatures: true,
        ..place
    });
    sealed.settings.witnesses.clear();
    for place in &places {
        let address = format!("s3://audit-bucket/a/prefix?endpoint={}", place.serve().await);
        let witness = Witness::s3(&address, ACCESS_KEY, SECRET_KEY).unwrap();
        sealed.settings.witnesses.push(witness);
    }
    let facts = random_ledger(family(1), 1, 20);
    for to in [facts.len() / 2, facts.len()] {
        append(&sealed.log, family(1), &facts[..to], to - facts.len() / 2).await;
        sealed.seal().await;
    }
    assert_eq!(checkpoints(&sealed).await, 2);
    assert_eq!(places.map(|place| place.notes()), [2, 2]);
    sealed.end().await;
}

#[test]
fn addresses_are_understood_or_refused() {
    for bad in ["", "ftp://x", "/folder", "s3://", "s3:///prefix"] {
        assert!(
            Witness::s3(bad, "a", "b").is_err() && Witness::parse(bad, None).is_err(),
            "{bad}"
        );
    }
    let witness = Witness::parse("https://user:secret@example.org/notes?token=secret", Some("secret")).unwrap();
    assert_eq!(witness.name(), "https://example.org/notes");
    let name = |address: &str| Witness::s3(address, "a", "b").unwrap().name().to_owned();
    assert_eq!(name("s3://audit/kinledger?region=eu-central-1"), "s3://audit/kinledger");
    assert_eq!(
        name("s3://audit/kinledger?region=x&endpoint=https://user:secret@s3.example.org:9000"),
        "s3://audit/kinledger?endpoint=https://s3.example.org:9000"
    );
    assert!(!format!("{witness:?}").contains("secret"));
}
