//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use command_api::identity::Secret;
use service_kit::{
    private_file,
    telemetry::{self, LogFormat},
};

use crate::{
    accounts, audit, contracts, embedded, erasures, import, keys, keys::Ledger, parked, rebuild, sealing, serve, up,
    weak::refuse_weak_password,
};

/// A family's money, chores and rewards as one ledger that explains every cent.
#[derive(Parser)]
#[command(
    name = "kinledger",
    version,
    about = "A family's money, chores and rewards as one ledger that explains every cent",
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look; RUST_LOG filters them.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "KINLEDGER_LOG_FORMAT"
    )]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process, with a private database in a folder.
    Up(UpOptions),
    /// Import a bank's statement file into an account of a running Kinledger.
    Import(import::ImportOptions),
    /// Help somebody who cannot sign in.
    Accounts(AccountsOptions),
    /// Replay, verify or export a family's ledger, straight from the log.
    Audit(AuditOptions),
    /// Build views again from the log, beside those that answer, and switch to them.
    Rebuild(RebuildCommand),
    /// Families whose next event could not be folded.
    Parked(ParkedOptions),
    /// The keys that personal texts are sealed under, and those that sign access tokens.
    Keys(KeysOptions),
    /// Run one part against DATABASE_URL, KAFKA_BROKERS and REDIS_URL.
    Serve(ServeCommand),
    /// Bring the tables of DATABASE_URL up to date.
    Migrate {
        /// The database, with a login that may create tables and roles.
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// A login, made already, that the parts use: it may step down to each part's role, and nothing else.
        #[arg(long, env = "KINLEDGER_SERVICE_LOGIN")]
        service_login: Option<String>,
    },
    /// Write or check the generated contracts in schemas/.
    Contracts(ContractsOptions),
    /// Ask a part whether it is well; for containers without curl.
    Healthcheck {
        /// The address of its /readyz or /healthz.
        url: String,
    },
}

#[derive(Args)]
struct UpOptions {
    /// The folder that holds everything: the database, keys, the log of the database server.
    #[arg(long, default_value = "data", env = "KINLEDGER_DATA_DIR")]
    data_dir: PathBuf,
    /// Where HTTP listens.
    #[arg(long, default_value = "127.0.0.1:8080", env = "KINLEDGER_LISTEN")]
    listen: SocketAddr,
    #[command(flatten)]
    http: serve::HttpOptions,
    #[command(flatten)]
    accounts: accounts::AccountOptions,
    #[command(flatten)]
    seal: sealing::SealOptions,
    #[command(flatten)]
    keys: keys::KeyOptions,
    #[command(flatten)]
    erasures: erasures::ErasureOptions,
}

#[derive(Args)]
struct AccountsOptions {
    #[command(subcommand)]
    command: accounts::AccountsCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct AuditOptions {
    #[command(subcommand)]
    command: audit::AuditCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct RebuildCommand {
    #[command(flatten)]
    options: rebuild::RebuildOptions,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct ParkedOptions {
    #[command(subcommand)]
    command: parked::ParkedCommand,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct KeysOptions {
    #[command(subcommand)]
    command: keys::KeysCommand,
    #[command(flatten)]
    place: Place,
}

/// Which ledger is meant.
#[derive(Args)]
struct Place {
    /// The database; without it, that of the data folder.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// The data folder of `kinledger up`.
    #[arg(long, default_value = "data", env = "KINLEDGER_DATA_DIR", global = true)]
    data_dir: PathBuf,
    /// The secret of a database that is not a data folder's, to derive the key to its texts from.
    #[arg(long, env = "KINLEDGER_SECRET", hide_env_values = true, global = true)]
    secret: Option<String>,
    #[command(flatten)]
    keys: keys::KeyOptions,
}

#[derive(Args)]
struct ServeCommand {
    /// Which part.
    #[arg(value_enum)]
    part: serve::Part,
    #[command(flatten)]
    options: serve::ServeOptions,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ContractsOptions {
    /// Write them to this folder.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Compare them with this folder; fails when they differ, a fixture does not load, or what a release promised is broken.
    #[arg(long, value_name = "DIR")]
    check: Option<PathBuf>,
    /// Mark this build as a release in this folder: what it promises is kept from now on (scripts/release.sh does the whole).
    #[arg(long, value_name = "DIR")]
    mark_release: Option<PathBuf>,
}

/// Parses the command line and runs it. Exit codes: 0 done, 1 it could not be done or was asked wrongly, 2 the log was
/// altered, 3 rows are not those of the log.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_answer = !error.use_stderr();
            drop(error.print());
            return if is_answer {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let format = match cli.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let filter = match cli.command {
        Command::Up(_) | Command::Serve(_) => "info,sqlx=warn,rdkafka=warn,librdkafka=warn",
        _ => "warn",
    };
    telemetry::start_logging(format, filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kinledger: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kinledger: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(options) => {
            up::run(
                &options.data_dir,
                options.listen,
                &options.http,
                &options.accounts,
                (&options.seal, &options.keys, &options.erasures),
            )
            .await?;
        }
        Command::Import(options) => import::run(options).await?,
        Command::Accounts(options) => {
            let command = options.command;
            return on_ledger(options.place, async |ledger| accounts::run(command, &ledger.url).await).await;
        }
        Command::Audit(options) => {
            let command = options.command;
            if let Some(code) = audit::run_without_database(&command) {
                return Ok(code);
            }
            let data_dir = options.place.data_dir.clone();
            return on_ledger(options.place, async |ledger| {
                Ok(audit::run(command, &ledger, &data_dir).await)
            })
            .await;
        }
        Command::Rebuild(options) => {
            let wanted = options.options;
            return on_ledger(options.place, async |ledger| rebuild::run(wanted, &ledger).await).await;
        }
        Command::Parked(options) => {
            let command = options.command;
            return on_ledger(options.place, async |ledger| parked::run(command, &ledger).await).await;
        }
        Command::Keys(options) => {
            let command = options.command;
            return on_ledger(options.place, async |ledger| keys::run(command, &ledger).await).await;
        }
        Command::Serve(options) => serve::run(options.part, options.options).await?,
        Command::Migrate {
            database_url,
            service_login,
        } => {
            refuse_weak_password("DATABASE_URL", &database_url)?;
            service_kit::database::migrate(&database_url).await?;
            if let Some(login) = service_login {
                service_kit::database::admit(&database_url, &login).await?;
            }
            println!("the database is up to date");
        }
        Command::Contracts(ContractsOptions {
            write: Some(folder), ..
        }) => contracts::write(&folder)?,
        Command::Contracts(ContractsOptions {
            mark_release: Some(folder),
            ..
        }) => contracts::mark_release(&folder)?,
        Command::Contracts(ContractsOptions { check, .. }) => {
            contracts::check(&check.context("name the folder of the contracts")?)?;
        }
        Command::Healthcheck { url } => {
            let answer =
                tokio::task::spawn_blocking(move || ureq::get(&url).call().map(|answer| answer.status())).await?;
            answer.context("not well")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something with the database that is meant; that of a data folder is started for it when nothing runs there.
async fn on_ledger(place: Place, work: impl AsyncFnOnce(Ledger) -> Result<ExitCode>) -> Result<ExitCode> {
    if let Some(url) = place.database_url {
        let secret = place.secret.as_deref().map(Secret::parse).transpose()?;
        let encryptions = place.keys.encryptions(secret.as_ref())?;
        return work(Ledger {
            url,
            secret,
            encryptions,
        })
        .await;
    }
    // It is there as soon as something was kept under it.
    let file = place.data_dir.join(keys::SECRET_FILE);
    let secret = file.exists().then(|| private_file::read(&file)).transpose()?;
    let secret = secret
        .map(|text| Secret::parse(&String::from_utf8_lossy(&text)))
        .transpose()?;
    let encryptions = place.keys.encryptions(secret.as_ref())?;
    let (url, started) = embedded::attach_or_start(&place.data_dir).await?;
    let code = work(Ledger {
        url,
        secret,
        encryptions,
    })
    .await;
    if let Some((server, _folder)) = started {
        server.stop().await?;
    }
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_names_of_its_own_for_what_it_takes() {
        Cli::command().debug_assert();
    }
}
