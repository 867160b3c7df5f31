//! Our write side on one database, put together as the service puts it together, and the families the load goes to.

use std::{fmt::Write, sync::Arc};

use anyhow::{Context, Result, anyhow};
use axum::http::HeaderMap;
use command_api::{
    CommandApi,
    dispatch::{Request, traceparent},
    identity::{Identity, IdentityConfig, Secret},
    lanes::LaneSettings,
};
use domain::{
    Currency, Money,
    category::CategoryKind,
    commands::{AnyCommand, find},
    entry::{
        ExpenseAdded,
        commands::{AddExpense, Split},
    },
    id::{AccountId, CategoryId, CommandId, EntryId, FamilyId, UserId},
    journal::Posting,
};
use event_store::{Log, Wakeups};
use serde_json::{Value, json};
use service_kit::{
    auth::SignedIn,
    database::{self, DatabaseRole},
};
use sqlx::PgPool;
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use crate::server::Server;

/// Connections of the command side, as the service has.
const WRITER_CONNECTIONS: u32 = 16;
const IDENTITY_CONNECTIONS: u32 = 12;
/// The installation's secret; the same for every copy of a database.
const SECRET: [u8; 32] = *b"a benchmark has nothing to hide!";

/// The log over a pool, with the keys to its texts.
pub fn log(pool: PgPool) -> Log {
    Log::new(pool, Secret::new(SECRET).derive("unique-claims/1"))
}

/// A family that commands can be sent to.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its id.
    pub id: FamilyId,
    /// An account of it, in euros.
    pub account: AccountId,
    /// Two of its categories.
    pub categories: [CategoryId; 2],
}

impl Family {
    /// A family with the categories every family begins with.
    pub fn of(id: FamilyId, account: AccountId) -> Self {
        let category = |name| CategoryId::of_name(id, CategoryKind::Expense, name);
        Self {
            id,
            account,
            categories: [category("Groceries"), category("Eating out")],
        }
    }
}

/// One `add-expense` with three postings; a different one for every number.
#[derive(Clone, Copy, Debug)]
pub struct Expense {
    cents: u64,
    day: u64,
}

impl Expense {
    /// The expense of a number.
    pub fn of(number: u64) -> Self {
        Self {
            cents: 300 + number.wrapping_mul(7_919) % 10_000,
            day: 1 + number % 28,
        }
    }

    /// What it is worth.
    pub fn cents(&self) -> u64 {
        self.cents
    }

    fn parts(&self) -> [u64; 2] {
        [self.cents / 3, self.cents - self.cents / 3]
    }

    /// The body a client sends.
    pub fn write_body(&self, family: &Family, out: &mut String) {
        let [first, second] = self.parts();
        let written = write!(
            out,
            r#"{{"account_id":"{}","money":{},"splits":[{{"category_id":"{}","money":{}}},{{"category_id":"{}","money":{}}}],"effective_on":"2025-03-{:02}","payee":"Corner shop","note":"for the week"}}"#,
            family.account,
            Euros(self.cents),
            family.categories[0],
            Euros(first),
            family.categories[1],
            Euros(second),
            self.day,
        );
        written.expect("a string takes everything");
    }

    fn money(cents: u64) -> Money {
        let currency: Currency = "EUR".parse().expect("a currency");
        Money::parse(&format!("{}.{:02}", cents / 100, cents % 100), currency).expect("an amount")
    }

    fn effective_on(&self) -> chrono::NaiveDate {
        chrono::NaiveDate::from_ymd_opt(2025, 3, u32::try_from(self.day).unwrap_or(1)).expect("a day of March")
    }

    /// The command, as if it had been parsed already.
    pub fn command(&self, family: &Family) -> Arc<dyn AnyCommand> {
        let [first, second] = self.parts();
        Arc::new(AddExpense {
            account_id: family.account,
            money: Self::money(self.cents),
            category_id: None,
            splits: vec![
                Split {
                    category_id: family.categories[0],
                    money: Self::money(first),
                },
                Split {
                    category_id: family.categories[1],
                    money: Self::money(second),
                },
            ],
            effective_on: Some(self.effective_on()),
            payee: "Corner shop".to_owned(),
            note: "for the week".to_owned(),
        })
    }

    /// The event that stock cqrs-es stores for it: the one our own command comes to.
    pub fn event(&self, family: &Family) -> ExpenseAdded {
        let [first, second] = self.parts();
        ExpenseAdded {
            entry_id: EntryId::from_uuid(Uuid::new_v4()),
            effective_on: self.effective_on(),
            postings: vec![
                Posting::account(family.account, Self::money(self.cents).negated()),
                Posting::category(family.categories[0], Self::money(first)),
                Posting::category(family.categories[1], Self::money(second)),
            ],
            payee: "Corner shop".to_owned(),
            note: "for the week".to_owned(),
            entered_by: None,
        }
    }
}

/// An amount as JSON has it.
struct Euros(u64);

impl std::fmt::Display for Euros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            r#"{{"amount":"{}.{:02}","currency":"EUR"}}"#,
            self.0 / 100,
            self.0 % 100
        )
    }
}

/// The write side, running.
pub struct Ledger {
    /// Commands.
    pub api: CommandApi,
    /// Who is who.
    pub identity: Identity,
    workers: Vec<JoinHandle<()>>,
    upkeep: JoinHandle<()>,
    stop: watch::Sender<bool>,
    pool: PgPool,
}

impl Ledger {
    /// Starts it on a database that is up to date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(server: &Server, database: &str) -> Result<Self> {
        Self::open_beside(server, database, Wakeups::default()).await
    }

    /// The same in one process with projectors, who hear of every append.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_beside(server: &Server, database: &str, wakeups: Wakeups) -> Result<Self> {
        let pool = database::connect(&server.url(database), DatabaseRole::Writer, WRITER_CONNECTIONS).await?;
        let secret = Secret::new(SECRET);
        let log = log(pool.clone()).with_wakeups(wakeups);
        let (api, workers) = CommandApi::start(log, LaneSettings::default()).await?;
        let identities = database::connect(&server.url(database), DatabaseRole::Identity, IDENTITY_CONNECTIONS).await?;
        let identity = Identity::open(identities, &secret, &IdentityConfig::default(), Arc::new(api.clone())).await?;
        let (stop, shutdown) = service_kit::shutdown::channel();
        let upkeep = tokio::spawn(identity.clone().run_upkeep(shutdown));
        Ok(Self {
            api,
            identity,
            workers,
            upkeep,
            stop,
            pool,
        })
    }

    /// Finishes what is queued and leaves the database.
    pub async fn close(self) {
        self.api.stop();
        self.stop.send_replace(true);
        for worker in self.workers {
            drop(worker.await);
        }
        drop(self.upkeep.await);
        self.pool.close().await;
    }
}

/// Sends one command as a person, without HTTP.
///
/// # Errors
/// What the service says.
pub async fn execute(
    api: &CommandApi,
    user_id: UserId,
    family_id: FamilyId,
    command: Arc<dyn AnyCommand>,
) -> Result<command_api::Receipt, String> {
    let command_id = CommandId::from_uuid(Keys::InOrder.next());
    execute_as(command_id, api, user_id, family_id, command).await
}

async fn execute_as(
    command_id: CommandId,
    api: &CommandApi,
    user_id: UserId,
    family_id: FamilyId,
    command: Arc<dyn AnyCommand>,
) -> Result<command_api::Receipt, String> {
    let signed_in = SignedIn {
        user_id,
        session_id: Uuid::nil(),
        proven_at: 0,
        is_paired: false,
    };
    let request = Request {
        family_id,
        command_id,
        signed_in,
        command,
        if_match: None,
        traceparent: traceparent(&HeaderMap::new()),
        bytes: 400,
    };
    api.execute(request).await.map_err(|problem| problem.body().to_string())
}

/// How a client makes its keys.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// UUID version 7, as the API asks for: one made later lies behind one made before.
    InOrder,
    /// UUID version 4.
    Random,
}

impl Keys {
    /// The next key.
    pub fn next(self) -> Uuid {
        match self {
            Self::InOrder => Uuid::now_v7(),
            Self::Random => Uuid::new_v4(),
        }
    }
}

/// Books one expense; its worth in cents.
///
/// # Errors
/// What the service says.
pub async fn spend(api: &CommandApi, user_id: UserId, family: &Family, expense: Expense) -> Result<u64, String> {
    spend_by(Keys::InOrder, api, user_id, family, expense).await
}

/// As [`spend`], by a client that makes its keys so.
///
/// # Errors
/// What the service says.
pub async fn spend_by(
    keys: Keys,
    api: &CommandApi,
    user_id: UserId,
    family: &Family,
    expense: Expense,
) -> Result<u64, String> {
    let command_id = CommandId::from_uuid(keys.next());
    execute_as(command_id, api, user_id, family.id, expense.command(family))
        .await
        .map(|_| expense.cents())
}

/// Founds a family with an account.
///
/// # Errors
/// What the service says.
pub async fn found(api: &CommandApi, user_id: UserId, number: u64) -> Result<Family> {
    let id = FamilyId::from_uuid(Uuid::new_v5(&user_id.uuid(), &number.to_be_bytes()));
    let create = json!({"name": format!("Family {number}"), "currency": "EUR", "zone": "Europe/Berlin"});
    named(api, user_id, id, "create-family", &create).await?;
    let account = open_account(api, user_id, id, "Current account").await?;
    Ok(Family::of(id, account))
}

/// Opens one more account.
///
/// # Errors
/// What the service says.
pub async fn open_account(api: &CommandApi, user_id: UserId, family: FamilyId, name: &str) -> Result<AccountId> {
    let receipt = named(
        api,
        user_id,
        family,
        "open-account",
        &json!({"name": name, "kind": "bank"}),
    )
    .await?;
    let opened = receipt
        .events
        .first()
        .context("an account that was opened has an event")?;
    opened
        .aggregate_id
        .parse()
        .map_err(|error| anyhow!("{}: {error}", opened.aggregate_id))
}

/// A command out of its body.
///
/// # Errors
/// When there is no such command, or it has another form.
pub fn parsed(name: &str, body: &Value) -> Result<Arc<dyn AnyCommand>> {
    let kind = find(name).with_context(|| format!("there is no command {name}"))?;
    Ok(Arc::from((kind.parse)(&body.to_string())?))
}

async fn named(
    api: &CommandApi,
    user_id: UserId,
    family: FamilyId,
    name: &str,
    body: &Value,
) -> Result<command_api::Receipt> {
    let command = parsed(name, body)?;
    execute(api, user_id, family, command)
        .await
        .map_err(|problem| anyhow!("{name}: {problem}"))
}
