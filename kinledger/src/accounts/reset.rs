//! `kinledger accounts`: what an operator can do for somebody who cannot sign in, where no mail is set up.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use command_api::identity::operators_reset_token;
use serde_json::json;
use service_kit::database::{self, DatabaseRole};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    /// Print a code that lets somebody choose a new password, once and within 30 minutes. Make sure who asks you for it.
    ResetPassword(ResetOptions),
}

/// Whose password.
#[derive(Debug, Args)]
pub struct ResetOptions {
    /// The account's e-mail address.
    email: String,
    /// Where people reach this installation; then a link is printed too.
    #[arg(long, value_name = "URL", env = "KINLEDGER_PUBLIC_URL")]
    public_url: Option<String>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it against the database at `database_url`.
///
/// # Errors
/// When the database cannot be used, or nobody has the address.
pub async fn run(command: AccountsCommand, database_url: &str) -> Result<ExitCode> {
    let AccountsCommand::ResetPassword(options) = command;
    let pool = database::connect(database_url, DatabaseRole::Identity, 1).await?;
    let made = operators_reset_token(&pool, &options.email).await;
    pool.close().await;
    let Some(code) = made.context("no code can be made")? else {
        bail!("there is no account with this e-mail address");
    };
    let link = options
        .public_url
        .as_deref()
        .filter(|url| !url.is_empty())
        .map(|url| format!("{}/#/reset-password?token={code}", url.trim_end_matches('/')));
    if options.json {
        println!("{}", json!({"code": code, "link": link, "expires_in": 1800}));
    } else {
        println!("{code}");
        if let Some(link) = link {
            println!("{link}");
        }
        eprintln!("good for one new password within 30 minutes; second factors stay");
    }
    Ok(ExitCode::SUCCESS)
}
