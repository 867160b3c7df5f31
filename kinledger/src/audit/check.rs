//! `kinledger audit check`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use event_store::export::whole;
use serde_json::json;

/// Which stream.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// The file; `-` for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(options: &CheckOptions) -> Result<()> {
    let stream: Box<dyn BufRead> = if options.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&options.file).with_context(|| format!("cannot open {}", options.file.display()))?;
        Box::new(BufReader::new(file))
    };
    let mark = whole::check(stream).context("not whole")?;
    let chain_hash = mark.chain_hash.as_deref().unwrap_or("none");
    if options.json {
        let said =
            json!({"whole": true, "events": mark.events, "family_seq": mark.family_seq, "chain_hash": mark.chain_hash});
        println!("{said}");
    } else {
        println!(
            "whole: {} events, up to family_seq {}, chain hash {chain_hash}",
            mark.events, mark.family_seq
        );
    }
    Ok(())
}
