//! What a command costs when its family's history grows: the first one after a start, one at a time, and 64 at once, these also
//! from clients that make their keys at random, which lie far apart in the index of commands. And the first command after a start
//! that needs a wallet with many changes, which has to be folded first.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::{
    big::{self, pocket_money},
    driver::{Until, closed_loop},
    ledger::{Expense, Keys, Ledger, spend_by},
    repetition::Session,
    verification::{self, Batches, Heads},
};

/// Commands one at a time.
const SERIAL: u64 = 400;
/// Commands of each of 64 tasks.
const EACH_OF_64: u64 = 40;

/// Measures every history, each repetition after a fresh start.
///
/// # Errors
/// When nothing is acknowledged.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let is_wanted = session.args.wants_any("growth") || session.args.wants_any("cold");
    let Some(big) = session.base.big.as_ref().filter(|_| is_wanted) else {
        return Ok(());
    };
    let owner = session.server.owner(big::DATABASE).await?;
    let ledger = Ledger::open(session.server, big::DATABASE).await?;
    let at_first = Heads::read(&owner).await?;
    let (mut spent, mut transferred) = (0, 0);
    for (entries, family) in &big.grown {
        for (kind, tasks, each, keys) in [
            ("cold", 1, 1, Keys::InOrder),
            ("serial", 1, SERIAL, Keys::InOrder),
            ("64", 64, EACH_OF_64, Keys::InOrder),
            ("64-random-keys", 64, EACH_OF_64, Keys::Random),
        ] {
            let name = format!("growth/{kind}/{entries}");
            if !session.args.wants(&name) {
                continue;
            }
            let (api, user_id, family) = (ledger.api.clone(), big.user_id, Arc::new(family.clone()));
            let before = Heads::read(&owner).await?;
            let load = closed_loop(session.clock, tasks, Until::Each(each), move |_, number| {
                let (api, family) = (api.clone(), Arc::clone(&family));
                async move { spend_by(keys, &api, user_id, &family, Expense::of(number)).await }
            })
            .await?;
            spent += load.worth;
            session.note(&name, "commands/s", load, Batches::since(&owner, &before).await?);
        }
    }
    for (changes, family, wallet) in &big.wallets {
        for name in [format!("cold/wallet/{changes}"), format!("cold/wallet/{changes}/next")] {
            if !session.args.wants(&name) {
                continue;
            }
            transferred += 1;
            let (api, user_id, family, wallet) = (ledger.api.clone(), big.user_id, family.clone(), *wallet);
            let load = closed_loop(session.clock, 1, Until::Each(1), move |_, _| {
                let (api, family) = (api.clone(), family.clone());
                async move { pocket_money(&api, user_id, &family, wallet).await }
            })
            .await?;
            spent += load.worth;
            session.note(&name, "commands/s", load, None);
        }
    }
    ledger.close().await;
    let stored = verification::cents_spent(&owner, &at_first).await?;
    // A transfer leaves one account and reaches another, so it is worth nothing to the family.
    let acknowledged = i64::try_from(spent).context("too many cents")? - transferred;
    if acknowledged != stored {
        session.fault(format!(
            "long histories: acknowledged {acknowledged} cents, the log holds {stored}"
        ));
    }
    owner.close().await;
    Ok(())
}
