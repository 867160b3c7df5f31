//! `kinledger-verify PACK --key KEY [--checkpoint FILE|DIR]... [--family UUID]`: the verifier alone, without a database.
//!
//! Exit codes: 0 the pack is whole, 1 it could not be verified, 2 it was altered, 3 it is whole, but not everything that was kept
//! elsewhere could be compared with it: it is older than that, or was not exported with `--checkpoint`.

use std::{path::PathBuf, process::ExitCode};

use verifier::{Kept, Limits, Pack, Report, Trust, VerifierKey, uuid, verify};

const USAGE: &str =
    "usage: kinledger-verify PACK --key KEY [--key KEY]... [--checkpoint FILE|FOLDER]... [--family FAMILY]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(report) if report.is_whole() => {
            println!(
                "whole: {} events of family {}, chain hash {}",
                report.events, report.family_id, report.chain_hash
            );
            println!(
                "  {}: {} checkpoints of the pack agree, the last for {} events of lane {}",
                report.log, report.checkpoints, report.checkpoint, report.lane
            );
            println!(
                "  kept elsewhere: {} checkpoints and {} events compared",
                report.kept_checkpoints, report.kept_events
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
            if report.is_all_compared() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(3)
            }
        }
        Ok(report) => {
            for fault in &report.faults {
                println!("ALTERED: {fault}");
            }
            ExitCode::from(2)
        }
        Err(message) => {
            eprintln!("kinledger-verify: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<Report, String> {
    let mut path: Option<PathBuf> = None;
    let mut trust = Trust::default();
    let mut kept = Kept::default();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} takes a value\n{USAGE}"))
        };
        match argument.as_str() {
            "--key" => trust
                .keys
                .push(VerifierKey::parse(&value()?).map_err(|error| error.to_string())?),
            "--checkpoint" => {
                let from = value()?;
                kept.add(from.as_ref())
                    .map_err(|error| format!("cannot read {from}: {error}"))?;
            }
            "--family" => {
                let text = value()?;
                let id = uuid(text.strip_prefix("fam_").unwrap_or(&text).as_bytes());
                trust.family_id = Some(id.ok_or_else(|| format!("{text} is no family"))?);
            }
            _ if path.is_none() && !argument.starts_with('-') => path = Some(argument.into()),
            _ => return Err(format!("{argument} is not understood\n{USAGE}")),
        }
    }
    let path = path.ok_or(USAGE)?;
    if trust.keys.is_empty() {
        return Err(format!(
            "--key is missing: get it from the ledger's owner, not from the pack\n{USAGE}"
        ));
    }
    trust.kept = kept;
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut pack = Pack::open(&path, Limits::default()).map_err(failed)?;
    verify(&mut pack, &trust).map_err(failed)
}
