//! `kinledger audit export`.
//!
//! A file is written beside its final name and renamed when it is whole and on disk, so a file of that name is never half an
//! export. On stdout the end mark, the last line of every format, says the same.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Args, builder::PossibleValuesParser};
use domain::id::FamilyId;
use event_store::export::{Chunk, ExportError, FORMATS};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::sync::mpsc;

use super::{AsOfOptions, advance, lane_of, open, pack, progress_bar, replay_error, told::tell_family};
use crate::keys::Ledger;

/// Pages on their way at most.
const CHUNKS_MAX: usize = 2;

/// What to export, and where to.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// The family.
    #[arg(long, value_name = "FAMILY")]
    pub family: FamilyId,
    /// The format.
    #[arg(long, value_parser = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name())), required_unless_present = "pack")]
    pub format: Option<String>,
    /// Write the auditor's pack: events, proofs, signed checkpoints and journals, to be verified without us. The output is a
    /// zip file if its name ends so, else a folder.
    #[arg(long, conflicts_with_all = ["format", "as_of_recorded", "as_of_seq", "as_of_effective"])]
    pub pack: bool,
    /// For a pack: checkpoints that were kept elsewhere, and that it should be comparable with.
    #[arg(long, value_name = "FILE|DIR", requires = "pack")]
    pub checkpoint: Vec<PathBuf>,
    /// The file to write; stdout when absent.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The bounds.
    #[command(flatten)]
    pub as_of: AsOfOptions,
    /// Say what was written as JSON (on stdout with --output, else on stderr).
    #[arg(long)]
    pub json: bool,
}

pub(super) async fn run(options: ExportOptions, ledger: &Ledger) -> Result<()> {
    if options.pack {
        return pack::export(
            options.family,
            options.output,
            &options.checkpoint,
            options.json,
            ledger,
        )
        .await;
    }
    let format = options.format.as_deref().and_then(event_store::export::format);
    let format = format.context("there is no such format")?;
    let log = open(ledger).await?;
    let lane = lane_of(&log, options.family).await?;
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    let mut target = Target::open(options.output.as_deref())?;
    tell_family(ledger, options.family, format.name()).await?;
    let bar = progress_bar("exporting", Some(0));
    let export = event_store::export::export(&log, lane, options.family, format, options.as_of.bounds(), sender);
    let (exported, written) = tokio::join!(export, write_all(chunks, &mut target, &bar));
    bar.finish_and_clear();
    // A full disk ends the export too; the disk is the reason, not the reader that went away.
    written.context("cannot write the export")?;
    let exported = match exported {
        Ok(exported) => exported,
        Err(ExportError::Replay(error)) => return Err(replay_error(options.family, error)),
        Err(error) => return Err(error.into()),
    };
    target.finish()?;

    let file = options.output.as_deref().map(|path| path.display().to_string());
    let chain_hash = exported.chain_hash.map(hex::encode);
    let said = if options.json {
        json!({
            "family_id": options.family, "format": format.name(), "file": file, "written": exported.written,
            "events": exported.events, "family_seq": exported.family_seq, "chain_hash": chain_hash,
        })
        .to_string()
    } else {
        let (written, events) = (exported.written, exported.events);
        let what = if format.needs_chart() { "transactions" } else { "events" };
        format!(
            "{}: {written} {what} of {events} events, chain hash {}",
            file.as_deref().unwrap_or("stdout"),
            chain_hash.as_deref().unwrap_or("none")
        )
    };
    if options.json && file.is_some() {
        println!("{said}");
    } else {
        eprintln!("{said}");
    }
    Ok(())
}

async fn write_all(mut chunks: mpsc::Receiver<Chunk>, target: &mut Target, bar: &ProgressBar) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        if let Some(total) = chunk.events_total {
            bar.set_length(u64::try_from(total).unwrap_or(0));
        }
        advance(bar, chunk.events_read);
        target.writer().write_all(chunk.text.as_bytes())?;
    }
    target.writer().flush()
}

/// Where an export goes.
enum Target {
    Stdout(BufWriter<io::Stdout>),
    File(Partial),
}

impl Target {
    fn open(path: Option<&Path>) -> Result<Self> {
        Ok(match path {
            None => Self::Stdout(BufWriter::new(io::stdout())),
            Some(path) => Self::File(Partial::create(path)?),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::File(partial) => &mut partial.file,
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush().context("cannot write the export"),
            Self::File(partial) => partial.finish(),
        }
    }
}

/// A file under another name until it is whole; removed when it never gets there.
struct Partial {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    is_whole: bool,
}

impl Partial {
    fn create(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            bail!("{} is no file name", path.display())
        };
        let partial = path.with_file_name(format!("{}.partial-{}", name.to_string_lossy(), std::process::id()));
        let file = File::create_new(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::new(file),
            is_whole: false,
        })
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().context("cannot write the export")?;
        self.file.get_ref().sync_all().context("cannot write the export")?;
        fs::rename(&self.partial, &self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_whole {
            drop(fs::remove_file(&self.partial));
        }
    }
}
