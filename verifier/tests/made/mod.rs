//! Packs of any length, written to a folder line by line: one family that has a lane to itself, and spends.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use verifier::{Frontier, Hash, VerifierKey, chain, hex, tree_leaf};

const LOG: &str = "kinledger/00000000-0000-4000-8000-000000000000";
const FAMILY: [u8; 16] = [7; 16];
const LANE: u16 = 3;
const DAY: &str = "2025-03-02";
const METADATA: &str = r#"{"actor":"mem_00000000-0000-4000-8000-000000000001","role":"parent","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;

/// Writes a pack of so many events, each an entry, into an empty folder; the key it is signed with.
///
/// # Errors
/// When the disk fails.
pub fn pack(folder: &Path, events: u64) -> io::Result<VerifierKey> {
    fs::create_dir(folder.join("checkpoints"))?;
    fs::write(folder.join("README.txt"), "")?;
    let (tree, last) = write_events(folder, events)?;
    let key = write_checkpoint(folder, events, &tree, &last)?;
    let chain_hash = hex(&last);
    let head =
        format!("{{\"family_seq\":{events},\"position\":{events},\"chain_hash\":\"{chain_hash}\",\"siblings\":[]}}\n");
    fs::write(folder.join("head.json"), head)?;
    let end =
        format!("; end: {events} transactions of {events} events, family_seq {events}, chain_hash {chain_hash}\n");
    write_journals(folder, events, &end)?;
    write_manifest(folder, events)?;
    Ok(key)
}

fn write_events(folder: &Path, events: u64) -> io::Result<(Frontier, Hash)> {
    let id = uuid_text(&FAMILY);
    let mut out = BufWriter::new(File::create_new(folder.join("events.ndjson"))?);
    let (mut tree, mut previous) = (Frontier::default(), [0; 32]);
    for seq in 1..=events {
        let payload = format!(
            r#"{{"type":"ExpenseAdded","entry_id":"ent_{id}","effective_on":"{DAY}","postings":[{{"ledger_account":"acc_{id}","money":{{"amount":"-{seq}.30","currency":"EUR"}}}},{{"ledger_account":"cat_{id}","money":{{"amount":"{seq}.30","currency":"EUR"}}}}],"payee":"Harbour fair","note":"rides","entered_by":"mem_{id}"}}"#
        );
        let sequence = seq.to_be_bytes();
        let fields: [&[u8]; 10] = [
            &FAMILY,
            b"entry",
            id.as_bytes(),
            &sequence,
            b"ExpenseAdded",
            b"1",
            &FAMILY,
            DAY.as_bytes(),
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
        writeln!(
            out,
            "{{\"family_seq\":{seq},\"position\":{seq},\"lane\":{LANE},\"family_id\":\"{id}\",\"aggregate_type\":\"entry\",\"aggregate_id\":\"{id}\",\
             \"sequence\":{seq},\"event_type\":\"ExpenseAdded\",\"event_version\":\"1\",\"command_id\":\"{id}\",\"effective_on\":\"{DAY}\",\
             \"recorded_at\":\"1970-01-01T00:00:00.000000Z\",\"leaf_hash\":\"{}\",\"chain_hash\":\"{}\",\"tree_leaf\":\"{}\",\"before\":[],\
             \"metadata\":\"{}\",\"payload\":\"{}\"}}",
            hex(&leaf),
            hex(&previous),
            hex(&sealed),
            escape(METADATA),
            escape(&payload)
        )?;
    }
    writeln!(
        out,
        "{{\"end\":true,\"events\":{events},\"chain_hash\":\"{}\",\"lane_size\":{events},\"after\":[]}}",
        hex(&previous)
    )?;
    out.flush()?;
    Ok((tree, previous))
}

fn write_checkpoint(folder: &Path, events: u64, tree: &Frontier, last: &Hash) -> io::Result<VerifierKey> {
    let key = hash(&[&[0x03], &FAMILY]);
    let heads = hash(&[&[0x04], &key, &events.to_be_bytes(), &events.to_be_bytes(), last]);
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
    fs::write(folder.join(format!("checkpoints/{events:020}.note")), note)?;
    let text = format!("{LOG}+{}+{}", hex(key_id), STANDARD.encode(&public));
    VerifierKey::parse(&text).map_err(io::Error::other)
}

fn write_journals(folder: &Path, events: u64, end: &str) -> io::Result<()> {
    let mut hledger = BufWriter::new(File::create_new(folder.join("ledger.journal"))?);
    let mut beancount = BufWriter::new(File::create_new(folder.join("ledger.beancount"))?);
    for seq in 1..=events {
        writeln!(
            hledger,
            "{DAY} * ({seq}) rides\n    Assets:Cash  -{seq}.30 EUR\n    Expenses:Fun  {seq}.30 EUR\n"
        )?;
        writeln!(
            beancount,
            "{DAY} * \"rides\"\n  family-seq: {seq}\n  Assets:Cash  -{seq}.30 EUR\n  Expenses:Fun  {seq}.30 EUR\n"
        )?;
    }
    let cents = 50 * events * (events + 1) + 30 * events;
    let sum = format!("{}.{:02}", cents / 100, cents % 100);
    writeln!(
        hledger,
        "{DAY} * Balances by Kinledger's own count\n    Assets:Cash  0 EUR = -{sum} EUR\n    Expenses:Fun  0 EUR = {sum} EUR\n"
    )?;
    writeln!(
        beancount,
        "{DAY} balance Assets:Cash  -{sum} ~ 0 EUR\n{DAY} balance Expenses:Fun  {sum} ~ 0 EUR\n"
    )?;
    hledger.write_all(end.as_bytes())?;
    beancount.write_all(end.as_bytes())?;
    hledger.flush()?;
    beancount.flush()
}

/// The list of the files there are; writes it anew when one was changed, as whoever changes a pack would.
///
/// # Errors
/// When the disk fails.
pub fn write_manifest(folder: &Path, events: u64) -> io::Result<()> {
    let checkpoint = format!("checkpoints/{events:020}.note");
    let names = [
        "README.txt",
        &checkpoint,
        "events.ndjson",
        "head.json",
        "ledger.beancount",
        "ledger.journal",
    ];
    let mut entries = Vec::new();
    for name in names {
        let (bytes, digest) = digest(&folder.join(name))?;
        entries.push(format!(
            "{{\"name\":\"{name}\",\"bytes\":{bytes},\"sha256\":\"{digest}\"}}"
        ));
    }
    let manifest = format!(
        "{{\"format\":\"kinledger-pack/1\",\"log\":\"{LOG}\",\"lane\":{LANE},\"family_id\":\"{}\",\"events\":{events},\"checkpoint\":{events},\"files\":[{}]}}\n",
        uuid_text(&FAMILY),
        entries.join(",")
    );
    fs::write(folder.join("manifest.json"), manifest)
}

fn digest(file: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hash, mut bytes) = (File::open(file)?, Sha256::new(), 0);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        hash.update(&chunk[..read]);
        bytes += read as u64;
    }
}

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
