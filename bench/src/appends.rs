//! The loads of the comparison: stock cqrs-es, our append path without HTTP, and all of it over HTTP.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, anyhow};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    driver::{Load, Until, closed_loop},
    generator::{self, Exchange, Worth},
    http::stock_metadata,
    ledger::{Expense, Family, Ledger, spend},
    repetition::Session,
    stock::{self, Stock},
    verification::{Batches, Heads},
};

/// Commands of one request to the batch endpoint, as many as it takes.
const BATCH: u64 = 1_000;
/// Connections that send batches.
const BATCH_CONNECTIONS: usize = 8;

/// Everything under load.
pub struct Loads<'a> {
    /// Ours.
    pub ledger: &'a Ledger,
    /// To count in its log.
    pub owner: &'a PgPool,
    /// Stock.
    pub stock: &'a Stock,
    /// Access tokens.
    pub tokens: Arc<Vec<String>>,
    /// Cents acknowledged so far.
    pub spent: u64,
    /// Events stock acknowledged so far.
    pub stock_done: u64,
}

/// Which family a connection's next expense goes to: a fixed walk that visits all and keeps connections apart.
fn turn(task: usize, number: u64, families: usize) -> usize {
    (task * 389 + number as usize * 7) % families
}

impl Loads<'_> {
    /// Every family is in memory before anything is measured.
    ///
    /// # Errors
    /// When the service declines.
    pub async fn warm(&mut self, session: &mut Session<'_>) -> Result<()> {
        let base = session.base;
        let all: Vec<Family> = base.many.iter().chain([&base.hot]).chain(&base.long).cloned().collect();
        let (all, api, user_id) = (Arc::new(all), self.ledger.api.clone(), base.user_id);
        let rounds = Until::Each(all.len().div_ceil(32) as u64);
        let load = closed_loop(session.clock, 32, rounds, move |task, number| {
            let (all, api) = (Arc::clone(&all), api.clone());
            async move {
                spend(
                    &api,
                    user_id,
                    &all[(task + number as usize * 32) % all.len()],
                    Expense::of(number),
                )
                .await
            }
        })
        .await?;
        self.spent += load.worth;
        load.failure
            .map_or(Ok(()), |reason| Err(anyhow!("a family could not be warmed: {reason}")))
    }

    /// Stock cqrs-es in this process.
    ///
    /// # Errors
    /// When nothing is acknowledged.
    pub async fn stock(&mut self, session: &mut Session<'_>) -> Result<()> {
        for (kind, tasks) in [
            ("new", 1),
            ("new", 8),
            ("new", 64),
            ("new", 256),
            ("long", 64),
            ("long", 256),
        ] {
            let name = format!("stock/{kind}/{tasks}");
            if !session.args.wants(&name) || (kind == "long" && tasks > session.base.long.len()) {
                continue;
            }
            let (stock, family) = (self.stock.clone(), session.base.hot.clone());
            let user = session.base.user_id.to_string();
            let load = closed_loop(
                session.clock,
                tasks,
                Until::Elapsed(session.args.duration()),
                move |task, number| {
                    let (stock, user) = (stock.clone(), user.clone());
                    let event = Expense::of(number).event(&family);
                    let aggregate = if kind == "new" {
                        Uuid::new_v4()
                    } else {
                        stock::long_aggregate(task)
                    };
                    async move {
                        let traceparent = command_api::dispatch::traceparent(&axum::http::HeaderMap::new());
                        stock
                            .execute(aggregate, event, stock_metadata(&user, traceparent))
                            .await
                            .map(|()| 1)
                    }
                },
            )
            .await?;
            self.stock_done += load.done;
            session.note(&name, "commands/s", load, None);
        }
        Ok(())
    }

    /// Our append path without HTTP.
    ///
    /// # Errors
    /// When nothing is acknowledged.
    pub async fn in_process(&mut self, session: &mut Session<'_>) -> Result<()> {
        for kind in ["many", "hot"] {
            for tasks in [1, 8, 64, 256, 512] {
                let name = format!("append/{kind}/{tasks}");
                if !session.args.wants(&name) {
                    continue;
                }
                let families = Arc::new(if kind == "many" {
                    session.base.many.clone()
                } else {
                    vec![session.base.hot.clone()]
                });
                let (api, user_id) = (self.ledger.api.clone(), session.base.user_id);
                let before = Heads::read(self.owner).await?;
                let load = closed_loop(
                    session.clock,
                    tasks,
                    Until::Elapsed(session.args.duration()),
                    move |task, number| {
                        let (api, families) = (api.clone(), Arc::clone(&families));
                        async move {
                            let family = &families[turn(task, number, families.len())];
                            spend(&api, user_id, family, Expense::of(number)).await
                        }
                    },
                )
                .await?;
                self.counted(session, &name, "commands/s", load, &before).await?;
            }
        }
        Ok(())
    }

    /// The same over HTTP, beside the route without a store and beside stock.
    ///
    /// # Errors
    /// When nothing is acknowledged.
    pub async fn over_http(
        &mut self,
        session: &mut Session<'_>,
        ours: SocketAddr,
        yardsticks: SocketAddr,
    ) -> Result<()> {
        for (kind, connections) in [
            ("http/no-store", 64),
            ("http/no-store", 256),
            ("http-stock/new", 64),
            ("http-stock/new", 256),
            ("http/many", 1),
            ("http/many", 8),
            ("http/many", 64),
            ("http/many", 256),
            ("http/hot", 1),
            ("http/hot", 8),
            ("http/hot", 64),
            ("http/hot", 256),
            ("http-stock/long", 64),
            ("http-stock/long", 256),
            ("http/long", 64),
            ("http/long", 256),
        ] {
            let name = format!("{kind}/{connections}");
            if !session.args.wants(&name) || (kind.ends_with("/long") && connections > session.base.long.len()) {
                continue;
            }
            let families = Arc::new(match kind {
                "http/hot" => vec![session.base.hot.clone()],
                "http/long" => session.base.long.clone(),
                _ => session.base.many.clone(),
            });
            let address = if kind == "http/no-store" || kind.starts_with("http-stock") {
                yardsticks
            } else {
                ours
            };
            let fill = move |connection: usize, number: u64, exchange: &mut Exchange| {
                let family = &families[turn(connection, number, families.len())];
                exchange.path = match kind {
                    "http/no-store" => format!("/no-store/{}/add-expense", family.id),
                    "http-stock/new" => format!("/stock/new/{}/add-expense", family.id),
                    "http-stock/long" => format!("/stock/long/{connection}/add-expense"),
                    _ => format!("/api/v1/families/{}/commands/add-expense", family.id),
                };
                let expense = Expense::of(number);
                expense.write_body(family, &mut exchange.body);
                exchange.worth = Worth::Fixed(expense.cents());
            };
            let before = Heads::read(self.owner).await?;
            let until = Until::Elapsed(session.args.duration());
            let load = generator::load(
                session.clock,
                address,
                Arc::clone(&self.tokens),
                connections,
                until,
                fill,
            )
            .await?;
            match kind {
                "http/no-store" => session.note(&name, "requests/s", load, None),
                "http-stock/new" | "http-stock/long" => {
                    self.stock_done += load.done;
                    session.note(&name, "commands/s", load, None);
                }
                _ => self.counted(session, &name, "commands/s", load, &before).await?,
            }
        }
        Ok(())
    }

    /// A thousand commands a request.
    ///
    /// # Errors
    /// When nothing is acknowledged.
    pub async fn batch_endpoint(&mut self, session: &mut Session<'_>, ours: SocketAddr) -> Result<()> {
        let name = format!("batch/{BATCH_CONNECTIONS}");
        if !session.args.wants(&name) {
            return Ok(());
        }
        let families = Arc::new(session.base.many.clone());
        let fill = move |connection: usize, number: u64, exchange: &mut Exchange| {
            let family = &families[turn(connection, number, families.len())];
            exchange.path = format!("/api/v1/families/{}/commands", family.id);
            exchange.body.push('[');
            for item in 0..BATCH {
                if item > 0 {
                    exchange.body.push(',');
                }
                exchange.body.push_str(&format!(
                    r#"{{"name":"add-expense","idempotency_key":"{}","body":"#,
                    Uuid::now_v7()
                ));
                Expense::of(item).write_body(family, &mut exchange.body);
                exchange.body.push('}');
            }
            exchange.body.push(']');
            exchange.worth = Worth::CountOf(r#""status":200"#);
        };
        let before = Heads::read(self.owner).await?;
        let until = Until::Elapsed(session.args.duration());
        let mut load = generator::load(
            session.clock,
            ours,
            Arc::clone(&self.tokens),
            BATCH_CONNECTIONS,
            until,
            fill,
        )
        .await?;
        let sent = load.done * BATCH;
        let per_batch: u64 = (0..BATCH).map(|item| Expense::of(item).cents()).sum();
        if load.worth != sent {
            session.fault(format!("{name}: {sent} commands sent, {} accepted", load.worth));
        }
        // From here on its unit is the command, worth what was booked.
        load.worth = load.done * per_batch;
        load.done = sent;
        self.counted(session, &name, "events/s", load, &before).await
    }

    /// Notes a load on our log, after counting it there.
    async fn counted(
        &mut self,
        session: &mut Session<'_>,
        name: &str,
        unit: &'static str,
        load: Load,
        before: &Heads,
    ) -> Result<()> {
        let stored = Heads::read(self.owner).await?.events() - before.events();
        if stored != load.done {
            session.fault(format!("{name}: {} acknowledged, {stored} stored", load.done));
        }
        let batches = Batches::since(self.owner, before).await?;
        self.spent += load.worth;
        session.note(name, unit, load, batches);
        Ok(())
    }
}
