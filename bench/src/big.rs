//! Long histories: one database that is made once, folded into views once, and not copied, for a copy would take longer than
//! what is measured on it. A repetition adds a few thousand entries to histories of up to a million.

use anyhow::{Context, Result, bail};
use domain::id::{AccountId, UserId};
use serde_json::json;

use crate::{
    args::Args,
    base::{fresh_ledger, settle, write_history},
    driver::{Until, closed_loop},
    ledger::{Family, Ledger, execute, found, parsed},
    machine::CpuClock,
    projections::Folding,
    server::Server,
    verification::Heads,
};

/// Its database.
pub const DATABASE: &str = "bench_big";
/// Tasks that fill wallets.
const FILLERS: usize = 250;

/// Who has the long histories.
pub struct Big {
    /// The one person who signs in.
    pub user_id: UserId,
    /// Their refresh token.
    pub refresh_token: String,
    /// Families by how many entries they have, the shortest first.
    pub grown: Vec<(u32, Family)>,
    /// Families by how many changes their one wallet has seen.
    pub wallets: Vec<(u32, Family, AccountId)>,
}

impl Big {
    /// Makes it; none when nothing of it is wanted.
    ///
    /// # Errors
    /// When the server or the service declines.
    pub async fn prepare(args: &Args, server: &Server, clock: CpuClock) -> Result<Option<Self>> {
        let (sizes, wallet_sizes) = (args.growth(), args.wallets());
        if sizes.is_empty() && wallet_sizes.is_empty() {
            return Ok(None);
        }
        println!("preparing long histories: {sizes:?} entries, wallets of {wallet_sizes:?} changes");
        let (ledger, user_id, refresh_token) = fresh_ledger(server, DATABASE).await?;
        let mut grown = Vec::new();
        for entries in sizes.first().map(|_| 0).into_iter().chain(sizes.iter().copied()) {
            let family = found(&ledger.api, user_id, u64::from(entries)).await?;
            write_history(clock, &ledger, user_id, std::slice::from_ref(&family), entries as usize).await?;
            grown.push((entries, family));
        }
        let mut wallets = Vec::new();
        for changes in wallet_sizes {
            let family = found(&ledger.api, user_id, 10_000_000 + u64::from(changes)).await?;
            let wallet = fill_wallet(clock, &ledger, user_id, &family, changes).await?;
            wallets.push((changes, family, wallet));
        }
        ledger.close().await;
        if args.wants_any("dashboard") {
            let owner = server.owner(DATABASE).await?;
            let heads = Heads::read(&owner).await?;
            owner.close().await;
            let folding = Folding::start(server, DATABASE).await?;
            folding.caught_up(&heads).await?;
            folding.stop().await?;
        }
        settle(server, DATABASE).await?;
        Ok(Some(Self {
            user_id,
            refresh_token,
            grown,
            wallets,
        }))
    }
}

/// A wallet of the family's first member, and so many transfers into it.
async fn fill_wallet(
    clock: CpuClock,
    ledger: &Ledger,
    user_id: UserId,
    family: &Family,
    changes: u32,
) -> Result<AccountId> {
    let role = ledger.api.member_role(family.id, user_id).await;
    let (member_id, _) = role
        .map_err(|problem| anyhow::anyhow!("{}", problem.body()))?
        .context("the founder is a member")?;
    let open = parsed(
        "open-account",
        &json!({"name": "Pocket", "kind": "wallet", "owner": member_id}),
    )?;
    let opened = execute(&ledger.api, user_id, family.id, open).await;
    let opened = opened.map_err(anyhow::Error::msg)?;
    let wallet: AccountId = opened
        .events
        .first()
        .context("an account was opened")?
        .aggregate_id
        .parse()?;
    let (api, family) = (ledger.api.clone(), family.clone());
    let each = Until::Each((changes as usize).div_ceil(FILLERS) as u64);
    let load = closed_loop(clock, FILLERS, each, move |_, _| {
        let (api, family) = (api.clone(), family.clone());
        async move { pocket_money(&api, user_id, &family, wallet).await }
    })
    .await?;
    if let Some(reason) = load.failure {
        bail!("a wallet could not be filled: {reason}");
    }
    Ok(wallet)
}

/// One cent into a wallet; what it was worth.
///
/// # Errors
/// What the service says.
pub async fn pocket_money(
    api: &command_api::CommandApi,
    user_id: UserId,
    family: &Family,
    wallet: AccountId,
) -> Result<u64, String> {
    let body = json!({"from": family.account, "to": wallet, "money": {"amount": "0.01", "currency": "EUR"}});
    let command = parsed("transfer", &body).map_err(|error| format!("{error:#}"))?;
    execute(api, user_id, family.id, command).await.map(|_| 1)
}
