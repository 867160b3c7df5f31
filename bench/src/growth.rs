//! What a command costs when its family's history grows: the first one after a start, one at a time, and 64 at once.

use std::sync::Arc;

use anyhow::Result;
use sqlx::PgPool;

use crate::{
    driver::{Until, closed_loop},
    ledger::{Expense, Ledger, spend},
    repetition::Session,
    verification::{Batches, Heads},
};

/// Commands one at a time.
const SERIAL: u64 = 400;
/// Commands of each of 64 tasks.
const EACH_OF_64: u64 = 40;

/// Measures every history; the cents that were booked on the way.
///
/// # Errors
/// When nothing is acknowledged.
pub async fn measure(session: &mut Session<'_>, ledger: &Ledger, owner: &PgPool) -> Result<u64> {
    let mut spent = 0;
    for (entries, family) in &session.base.grown {
        for (kind, tasks, each) in [("cold", 1, 1), ("serial", 1, SERIAL), ("64", 64, EACH_OF_64)] {
            let name = format!("growth/{kind}/{entries}");
            if !session.args.wants(&name) {
                continue;
            }
            let (api, user_id, family) = (ledger.api.clone(), session.base.user_id, Arc::new(family.clone()));
            let before = Heads::read(owner).await?;
            let load = closed_loop(session.clock, tasks, Until::Each(each), move |_, number| {
                let (api, family) = (api.clone(), Arc::clone(&family));
                async move { spend(&api, user_id, &family, Expense::of(number)).await }
            })
            .await?;
            spent += load.worth;
            session.note(&name, "commands/s", load, Batches::since(owner, &before).await?);
        }
    }
    Ok(spent)
}
