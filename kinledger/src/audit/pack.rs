//! `kinledger audit export --pack` and `kinledger audit verify --pack`. The latter needs no database.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use domain::id::FamilyId;
use event_store::{
    Lane, Log,
    pack::{PARTS_MAX, pack, write_folder, write_zip},
    seal::{log_name, proofs},
};
use serde_json::json;
use tokio::sync::mpsc;
use verifier::{Kept, Limits, Pack, Report, Trust, VerifierKey};

use super::{advance, lane_of, open, progress_bar, told::tell_family};
use crate::keys::Ledger;

/// How long an export waits for a running sealer to seal what there is.
const SEALED_WITHIN: Duration = Duration::from_secs(15);

/// Writes a pack: a zip file when its name says so, else a folder.
pub(super) async fn export(
    family: FamilyId,
    output: Option<PathBuf>,
    kept: &[PathBuf],
    is_json: bool,
    ledger: &Ledger,
) -> Result<()> {
    let output = output.context("--pack needs --output: a file that ends in .zip, or a folder")?;
    let log = open(ledger).await?;
    let lane = lane_of(&log, family).await?;
    let wanted = sizes(&log, lane, kept).await?;
    tell_family(ledger, family, "pack").await?;
    let unsealed = wait_until_sealed(&log, lane, family).await?;
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    let bar = progress_bar("packing", None);
    let heard = bar.clone();
    let target = output.clone();
    let writing = tokio::task::spawn_blocking(move || write(&target, parts, |events| advance(&heard, events)));
    let packed = pack(&log, lane, family, &wanted, sender).await;
    let written = writing.await.context("the pack could not be written")?;
    bar.finish_and_clear();
    let packed = match packed {
        // A full disk ends the export too; the disk is the reason, not the reader that went away.
        Err(event_store::pack::PackError::ReaderGone) => {
            return written.and(Err(anyhow!("the pack could not be written")));
        }
        packed => packed?,
    };
    written?;
    let chain_hash = hex::encode(packed.chain_hash);
    if is_json {
        let said = json!({
            "family_id": family, "pack": output, "events": packed.events, "checkpoint": packed.checkpoint,
            "chain_hash": chain_hash, "unsealed": unsealed, "without_journals": packed.without_journals,
        });
        println!("{said}");
    } else {
        eprintln!(
            "{}: {} events under a checkpoint for {} of lane {lane}, chain hash {chain_hash}",
            output.display(),
            packed.events,
            packed.checkpoint
        );
    }
    if unsealed > 0 {
        eprintln!("{unsealed} events of this family are not sealed yet and not in it");
    }
    if let Some(why) = packed.without_journals {
        eprintln!("there are no journals in it: {why}");
    }
    Ok(())
}

/// Writes beside the final name and renames when all is on disk.
fn write(output: &Path, parts: mpsc::Receiver<event_store::pack::Part>, heard: impl FnMut(i64)) -> Result<()> {
    let name = output
        .file_name()
        .with_context(|| format!("{} is no name", output.display()))?;
    let partial = output.with_file_name(format!("{}.partial-{}", name.to_string_lossy(), std::process::id()));
    let cannot = || format!("cannot write {}", output.display());
    let is_zip = output.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip"));
    if output.exists() && !is_zip {
        bail!("{} is there already", output.display());
    }
    let written = if is_zip {
        let file = File::create_new(&partial).with_context(cannot)?;
        write_zip(parts, BufWriter::new(file), heard).and_then(|writer| writer.into_inner()?.sync_all())
    } else {
        write_folder(parts, &partial, heard)
    };
    let placed = written.and_then(|()| fs::rename(&partial, output));
    if placed.is_err() {
        drop(if is_zip {
            fs::remove_file(&partial)
        } else {
            fs::remove_dir_all(&partial)
        });
    }
    placed.with_context(cannot)
}

/// The sizes of checkpoints of this lane that somebody has kept, so that the pack can be compared with them.
async fn sizes(log: &Log, lane: Lane, kept: &[PathBuf]) -> Result<Vec<u64>> {
    let origin = format!(
        "{}/lane/{lane}",
        log_name(log.pool()).await.context("cannot read the log")?
    );
    let sizes = kept_at(kept)?.sizes(&origin);
    if sizes.len() > event_store::pack::WANTED_MAX {
        bail!(
            "these are {} checkpoints of the lane; {} can be asked for",
            sizes.len(),
            event_store::pack::WANTED_MAX
        );
    }
    Ok(sizes)
}

pub(super) fn kept_at(paths: &[PathBuf]) -> Result<Kept> {
    let mut kept = Kept::default();
    for path in paths {
        kept.add(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(kept)
}

/// Waits while a sealer goes on; says how many events of the family are left without a checkpoint.
async fn wait_until_sealed(log: &Log, lane: Lane, family: FamilyId) -> Result<i64> {
    let cannot = "cannot read the log";
    let head = log.lane_head(lane).await.context(cannot)?;
    let began = Instant::now();
    loop {
        let sealed = proofs::checkpoint(log.pool(), lane, None)
            .await
            .context(cannot)?
            .map_or(0, |found| found.size);
        if sealed >= head.unsigned_abs() || began.elapsed() > SEALED_WITHIN {
            return proofs::unsealed(log.pool(), lane, family.uuid(), sealed)
                .await
                .context(cannot);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Verifies a pack with the keys given, and nothing else.
pub(super) fn verify(path: &Path, keys: &[String], family: &str, kept: &[PathBuf], is_json: bool) -> Result<Report> {
    if keys.is_empty() {
        bail!("--pack needs --key: the public key, from the ledger's operator and not from the pack");
    }
    let keys = keys
        .iter()
        .map(|key| VerifierKey::parse(key).with_context(|| format!("{key} is no key")))
        .collect::<Result<Vec<_>>>()?;
    let family_id = match family {
        "all" => None,
        family => Some(
            *family
                .parse::<FamilyId>()
                .context("--family takes a family's id")?
                .uuid()
                .as_bytes(),
        ),
    };
    let trust = Trust {
        keys,
        family_id,
        kept: kept_at(kept)?,
    };
    let cannot = || format!("cannot read {}", path.display());
    let mut pack = Pack::open(path, Limits::default()).with_context(cannot)?;
    let report = verifier::verify(&mut pack, &trust).with_context(cannot)?;
    if is_json {
        let told = |fault: &verifier::Fault| json!({"file": fault.file, "family_seq": fault.family_seq, "until": fault.until, "fault": fault.what.to_string()});
        let faults: Vec<_> = report.faults.iter().map(told).collect();
        let not_compared: Vec<_> = report.not_compared.iter().map(told).collect();
        let first = report.first_bad();
        println!(
            "{}",
            json!({
                "verified": report.is_whole(), "family_id": report.family_id, "events": report.events,
                "chain_hash": report.chain_hash, "log": report.log, "lane": report.lane, "checkpoint": report.checkpoint,
                "checkpoints": report.checkpoints, "kept_checkpoints": report.kept_checkpoints, "kept_events": report.kept_events,
                "entries": report.entries, "journals": report.journals, "faults": faults,
                "unsigned": report.unsigned, "not_compared": not_compared,
                "first_bad_family_seq": first.and_then(|fault| fault.family_seq),
            })
        );
    } else if report.is_whole() {
        println!(
            "whole: {} events of {}, chain hash {}",
            report.events, report.family_id, report.chain_hash
        );
        println!(
            "  {} checkpoints of the pack and {} kept elsewhere agree",
            report.checkpoints, report.kept_checkpoints
        );
        println!(
            "  {} entries balance, {} journals say the same",
            report.entries, report.journals
        );
        if report.unsigned > 0 {
            println!(
                "  {} kept notes are signed by no key given, and show nothing",
                report.unsigned
            );
        }
        for open in &report.not_compared {
            println!("not compared: {open}");
        }
    } else {
        for fault in &report.faults {
            println!("ALTERED: {fault}");
        }
    }
    Ok(report)
}
