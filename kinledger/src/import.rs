//! `kinledger import FILE`: a bank's file into an account of a running Kinledger, with progress.
//!
//! The file is read here first, so that what is wrong with it shows before anything is sent; the server reads it again and has
//! the last word.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use connectors::banks::statement_file::{self, Options};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::embedded;

/// What to import, where to, and as whom.
#[derive(Args)]
pub struct ImportOptions {
    /// The statement file: OFX, CSV, CAMT.052/053/054 or MT940; the format is told from its contents.
    file: PathBuf,
    /// The account, by its name or id.
    #[arg(long)]
    account: String,
    /// The family, by its id; not needed when you belong to one only.
    #[arg(long)]
    family: Option<String>,
    /// Where Kinledger runs; without it, the one running on the data folder.
    #[arg(long, env = "KINLEDGER_URL")]
    url: Option<String>,
    /// The data folder of the Kinledger to import into.
    #[arg(long, default_value = "data", env = "KINLEDGER_DATA_DIR")]
    data_dir: PathBuf,
    /// An access token.
    #[arg(
        long,
        env = "KINLEDGER_TOKEN",
        hide_env_values = true,
        required_unless_present = "email"
    )]
    token: Option<String>,
    /// Sign in with this e-mail address instead; the password is taken from KINLEDGER_PASSWORD or asked for.
    #[arg(long)]
    email: Option<String>,
    /// Which account of the file, when it holds several.
    #[arg(long)]
    statement_account: Option<String>,
    /// Book the other rows of a statement that does not add up because some rows cannot be read.
    #[arg(long)]
    skip_broken: bool,
    /// How to read the file, as name=value: currency=EUR, csv.delimiter=;, csv.date_format=DD/MM/YYYY,
    /// csv.columns.amount=Betrag … May be given several times.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Imports the file and prints the report.
///
/// # Errors
/// When the file cannot be read or does not add up, or the server declines.
pub async fn run(options: ImportOptions) -> Result<()> {
    // All of it waits: for the disk, the server and the person.
    tokio::task::spawn_blocking(move || import(&options)).await?
}

fn import(options: &ImportOptions) -> Result<()> {
    let bytes = fs::read(&options.file).with_context(|| format!("cannot read {}", options.file.display()))?;
    let rows = count_rows(&bytes, options)?;
    let server = Server::find(options)?;
    let family = server.family(options.family.as_deref())?;
    let account = server.account(&family, &options.account)?;

    let progress = spinner();
    progress.set_message(format!("{}: {rows} rows read, booking", file_name(&options.file)));
    let mut query = vec![("account_id".to_owned(), account)];
    query.extend(
        options
            .statement_account
            .iter()
            .map(|name| ("statement_account".to_owned(), name.clone())),
    );
    if options.skip_broken {
        query.push(("skip_broken".to_owned(), "true".to_owned()));
    }
    for option in &options.options {
        let (name, value) = option
            .split_once('=')
            .with_context(|| format!("--option {option} is not name=value"))?;
        query.push((name.to_owned(), value.to_owned()));
    }
    let report = server.post_file(&family, &query, &bytes);
    progress.finish_and_clear();
    let report = report?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_report(&options.file, &report);
    }
    Ok(())
}

/// Reads the file as the server will, to fail early and to say how much there is.
fn count_rows(bytes: &[u8], options: &ImportOptions) -> Result<usize> {
    let pairs: Vec<(&str, &str)> = options
        .options
        .iter()
        .filter_map(|option| option.split_once('='))
        .collect();
    let mut reading = Options::from_pairs(pairs)?;
    // The account's currency is not known here; any will do for counting.
    let counted_in = reading.currency.or_else(|| "EUR".parse().ok());
    reading.currency = counted_in;
    let found =
        statement_file::read(bytes, &reading).with_context(|| format!("{} cannot be used", options.file.display()))?;
    Ok(found.statements.iter().map(|statement| statement.rows_read).sum())
}

/// A running Kinledger and who we are there.
struct Server {
    url: String,
    token: String,
}

impl Server {
    fn find(options: &ImportOptions) -> Result<Self> {
        let url = match &options.url {
            Some(url) => url.clone(),
            None => {
                let running = embedded::running(&options.data_dir).with_context(|| {
                    format!(
                        "no Kinledger runs on the data folder {}: start it, or name one with --url",
                        options.data_dir.display()
                    )
                })?;
                running.address
            }
        };
        let mut server = Self {
            url: url.trim_end_matches('/').to_owned(),
            token: options.token.clone().unwrap_or_default(),
        };
        if let Some(email) = &options.email {
            let password = password(email)?;
            let body = json!({"email": email, "password": password});
            let answer = server.call(
                "POST",
                "/api/v1/auth/login",
                Some(&body.to_string().into_bytes()),
                "application/json",
            )?;
            server.token = text(&answer, "access_token");
        }
        Ok(server)
    }

    fn family(&self, wanted: Option<&str>) -> Result<String> {
        if let Some(family) = wanted {
            return Ok(family.to_owned());
        }
        let answer = self.call("GET", "/api/v1/families", None, "")?;
        let families = answer
            .get("families")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        match families.as_slice() {
            [one] => Ok(text(one, "family_id")),
            [] => bail!("you belong to no family yet"),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|f| format!("{} ({})", text(f, "family_id"), text(f, "name")))
                    .collect();
                bail!(
                    "you belong to several families: name one with --family: {}",
                    names.join(", ")
                )
            }
        }
    }

    fn account(&self, family: &str, wanted: &str) -> Result<String> {
        if wanted.starts_with("acc_") || Uuid::try_parse(wanted).is_ok() {
            return Ok(wanted.to_owned());
        }
        let answer = self.call("GET", &format!("/api/v1/families/{family}/accounts"), None, "")?;
        let accounts = answer
            .get("accounts")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let found = accounts
            .iter()
            .find(|account| text(account, "name").eq_ignore_ascii_case(wanted));
        let names = || {
            accounts
                .iter()
                .map(|account| text(account, "name"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        found
            .map(|account| text(account, "account_id"))
            .with_context(|| format!("no account is called '{wanted}'; there are: {}", names()))
    }

    fn post_file(&self, family: &str, query: &[(String, String)], bytes: &[u8]) -> Result<Value> {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", percent(value)))
            .collect();
        let path = format!("/api/v1/families/{family}/imports?{}", query.join("&"));
        self.call("POST", &path, Some(bytes), "application/octet-stream")
    }

    fn call(&self, method: &str, path: &str, body: Option<&[u8]>, content_type: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let authorization = format!("Bearer {}", self.token);
        let unreachable = || format!("cannot reach {}", self.url);
        let mut answer = match (method, body) {
            ("POST", Some(body)) => {
                let mut request = ureq::post(&url)
                    .header("content-type", content_type)
                    // The same key for as long as this program tries: a repeat books nothing twice.
                    .header("idempotency-key", Uuid::now_v7().to_string());
                if !self.token.is_empty() {
                    request = request.header("authorization", authorization);
                }
                let request = request
                    .config()
                    .http_status_as_error(false)
                    .timeout_global(Some(Duration::from_secs(120)))
                    .build();
                request.send(body).with_context(unreachable)?
            }
            _ => {
                let request = ureq::get(&url).header("authorization", authorization);
                request
                    .config()
                    .http_status_as_error(false)
                    .build()
                    .call()
                    .with_context(unreachable)?
            }
        };
        let value: Value = answer
            .body_mut()
            .with_config()
            .limit(64 * 1024 * 1024)
            .read_json()
            .unwrap_or(Value::Null);
        if !answer.status().is_success() {
            let mut said = text(&value, "detail");
            for row in value.get("broken_rows").and_then(Value::as_array).into_iter().flatten() {
                said += &format!(
                    "\n  line {} {}: {}",
                    row["line"],
                    text(row, "field"),
                    text(row, "problem")
                );
            }
            bail!("{} ({})", said, answer.status());
        }
        Ok(value)
    }
}

fn password(email: &str) -> Result<String> {
    if let Ok(password) = std::env::var("KINLEDGER_PASSWORD") {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        bail!("set KINLEDGER_PASSWORD for {email}");
    }
    // The terminal's own switch; where there is none the password shows, as the person then sees.
    let hide = |is_hidden: bool| {
        let flag = if is_hidden { "-echo" } else { "echo" };
        drop(std::process::Command::new("stty").arg(flag).status());
    };
    eprint!("Password of {email}: ");
    hide(true);
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    hide(false);
    eprintln!();
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn print_report(file: &Path, report: &Value) {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let statement = &report["statement"];
    println!(
        "{}: {} rows, {} to {}",
        file_name(file),
        statement["rows"],
        text(statement, "first_on"),
        text(statement, "last_on")
    );
    println!("  booked  {}", number("rows_booked"));
    println!("  known   {}", number("rows_known"));
    if number("rows_categorised") > 0 {
        println!(
            "  named   {} known rows that had no category",
            number("rows_categorised")
        );
    }
    if number("rows_zero") > 0 {
        println!("  of nothing, left out  {}", number("rows_zero"));
    }
    for row in statement["rows_broken"].as_array().into_iter().flatten() {
        println!(
            "  broken  line {} {}: {}",
            row["line"],
            text(row, "field"),
            text(row, "problem")
        );
    }
    for refused in report["refused"].as_array().into_iter().flatten() {
        println!(
            "  refused  the statement at line {}: {}",
            refused["line"], refused["refusal"]
        );
    }
    if let Some(closing) = statement["closing"].as_object() {
        println!(
            "  the bank's closing balance  {} {}",
            closing["amount"].as_str().unwrap_or(""),
            closing["currency"].as_str().unwrap_or("")
        );
    }
    println!("  to take it back: undo-import {}", text(report, "import_id"));
}

fn spinner() -> ProgressBar {
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

fn file_name(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn percent(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if is_plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
