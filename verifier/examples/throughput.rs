//! How fast packs are verified: makes one in memory, verifies it, and tells events per second of processor time.
//!
//! `cargo run --release -p verifier --example throughput -- 300000`

use std::{collections::BTreeMap, fmt::Write, fs, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use verifier::{Frontier, Hash, Limits, Pack, Trust, VerifierKey, chain, hex, tree_leaf, verify};

const LOG: &str = "kinledger/00000000-0000-4000-8000-000000000000";
const FAMILY: [u8; 16] = [7; 16];
const LANE: u16 = 3;
const METADATA: &str = r#"{"actor":"mem_00000000-0000-4000-8000-000000000001","role":"parent","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;

fn hash(parts: &[&[u8]]) -> Hash {
    Sha256::digest(parts.concat()).into()
}

fn uuid_text(id: &[u8; 16]) -> String {
    let digits = hex(id);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// A pack of one family that has a lane to itself, and the key for it.
fn made(events: u64) -> (BTreeMap<String, Vec<u8>>, VerifierKey) {
    let id = uuid_text(&FAMILY);
    let payload = |n: u64| {
        format!(
            r#"{{"type":"ExpenseAdded","entry_id":"ent_{id}","effective_on":"2025-03-02","postings":[{{"ledger_account":"acc_{id}","money":{{"amount":"-{n}.30","currency":"EUR"}}}},{{"ledger_account":"cat_{id}","money":{{"amount":"{n}.30","currency":"EUR"}}}}],"payee":"Harbour fair","note":"rides","entered_by":"mem_{id}"}}"#
        )
    };
    let (mut tree, mut previous, mut text) = (Frontier::default(), [0; 32], String::new());
    for seq in 1..=events {
        let (payload, sequence) = (payload(seq), seq.to_be_bytes());
        let fields: [&[u8]; 10] = [
            &FAMILY,
            b"entry",
            id.as_bytes(),
            &sequence,
            b"ExpenseAdded",
            b"1",
            &FAMILY,
            b"2025-03-02",
            payload.as_bytes(),
            METADATA.as_bytes(),
        ];
        let mut leaf = vec![0];
        for field in fields {
            leaf.extend_from_slice(&u32::try_from(field.len()).unwrap_or(0).to_be_bytes());
            leaf.extend_from_slice(field);
        }
        let leaf = hash(&[&leaf]);
        previous = chain(&previous, seq, 0, &leaf);
        let sealed = tree_leaf(LANE, seq, &FAMILY, seq, &previous);
        tree.push(sealed);
        let escape = |text: &str| text.replace('"', "\\\"");
        let _ = writeln!(
            text,
            "{{\"family_seq\":{seq},\"position\":{seq},\"lane\":{LANE},\"family_id\":\"{id}\",\"aggregate_type\":\"entry\",\"aggregate_id\":\"{id}\",\
             \"sequence\":{seq},\"event_type\":\"ExpenseAdded\",\"event_version\":\"1\",\"command_id\":\"{id}\",\"effective_on\":\"2025-03-02\",\
             \"recorded_at\":\"1970-01-01T00:00:00.000000Z\",\"leaf_hash\":\"{}\",\"chain_hash\":\"{}\",\"tree_leaf\":\"{}\",\"before\":[],\
             \"metadata\":\"{}\",\"payload\":\"{}\"}}",
            hex(&leaf),
            hex(&previous),
            hex(&sealed),
            escape(METADATA),
            escape(&payload)
        );
    }
    let chain_hash = hex(&previous);
    let _ = writeln!(
        text,
        "{{\"end\":true,\"events\":{events},\"chain_hash\":\"{chain_hash}\",\"lane_size\":{events},\"after\":[]}}"
    );
    let key = hash(&[&[0x03], &FAMILY]);
    let heads = hash(&[&[0x04], &key, &events.to_be_bytes(), &events.to_be_bytes(), &previous]);

    let signing = SigningKey::from_bytes(&[9; 32]);
    let public = [&[0x01], signing.verifying_key().as_bytes().as_slice()].concat();
    let key_id = &hash(&[LOG.as_bytes(), b"\n", &public])[..4];
    let note = format!(
        "{LOG}/lane/{LANE}\n{events}\n{}\nheads {}\n",
        STANDARD.encode(tree.root()),
        STANDARD.encode(heads)
    );
    let signature = [key_id, &signing.sign(note.as_bytes()).to_bytes()].concat();
    let note = format!("{note}\n— {LOG} {}\n", STANDARD.encode(signature));
    let verifier_key = format!("{LOG}+{}+{}", hex(key_id), STANDARD.encode(&public));

    let head =
        format!("{{\"family_seq\":{events},\"position\":{events},\"chain_hash\":\"{chain_hash}\",\"siblings\":[]}}\n");
    let files: BTreeMap<String, Vec<u8>> = [
        ("README.txt".to_owned(), Vec::new()),
        (format!("checkpoints/{events:020}.note"), note.into_bytes()),
        ("events.ndjson".to_owned(), text.into_bytes()),
        ("head.json".to_owned(), head.into_bytes()),
    ]
    .into();
    (
        files,
        VerifierKey::parse(&verifier_key).unwrap_or_else(|error| panic!("{error}")),
    )
}

fn with_manifest(mut files: BTreeMap<String, Vec<u8>>, events: u64) -> BTreeMap<String, Vec<u8>> {
    let entry = |(name, bytes): (&String, &Vec<u8>)| {
        format!(
            "{{\"name\":\"{name}\",\"bytes\":{},\"sha256\":\"{}\"}}",
            bytes.len(),
            hex(&Sha256::digest(bytes))
        )
    };
    let entries: Vec<String> = files.iter().map(entry).collect();
    let manifest = format!(
        "{{\"format\":\"kinledger-pack/1\",\"log\":\"{LOG}\",\"lane\":{LANE},\"family_id\":\"{}\",\"events\":{events},\"checkpoint\":{events},\"files\":[{}]}}\n",
        uuid_text(&FAMILY),
        entries.join(",")
    );
    files.insert("manifest.json".to_owned(), manifest.into_bytes());
    files
}

/// Processor time of this process so far, in seconds; hundredths are what the kernel tells.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or("")
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    fields
        .get(11)
        .zip(fields.get(12))
        .map_or(0.0, |(user, system)| (user + system) / 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn main() {
    let events = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300_000);
    let (files, key) = made(events);
    let bytes: usize = files.values().map(Vec::len).sum();
    let mut pack = Pack::memory(with_manifest(files, events), Limits::default());
    let trust = Trust {
        keys: vec![key],
        ..Trust::default()
    };
    let (began, before) = (Instant::now(), processor_seconds());
    let report = verify(&mut pack, &trust).unwrap_or_else(|error| panic!("{error}"));
    let (seconds, busy) = (began.elapsed().as_secs_f64(), processor_seconds() - before);
    // The journals are left out here, which is the one thing that may be wrong.
    let is_as_expected = report.events == events && report.faults.iter().all(|fault| fault.file.starts_with("ledger."));
    assert!(is_as_expected, "{:?}", report.faults);
    println!(
        "{events} events ({} MB) in {seconds:.2} s, {busy:.2} s of processor time: {:.0} events per second of processor time",
        bytes / 1_000_000,
        events as f64 / busy
    );
}
