//! The relay to a real broker, beside the plainest relay there is: one task, pages of 500, every acknowledgement awaited before
//! the next page is read, the checkpoint saved after each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use event_store::{
    Lane, Log,
    relay::{self, RelaySettings},
};
use futures::future::try_join_all;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    producer::{FutureProducer, FutureRecord},
};
use service_kit::database::{self, DatabaseRole};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{base::PROJECTED, driver::Load, repetition::Session, verification::Heads};

/// Records of one page of the plain relay.
const PAGE: i64 = 500;
/// Saves the plain relay's checkpoint.
const SAVE: &str = "insert into public.plain_checkpoints values ($1, $2) on conflict (topic) do update set position = excluded.position";
/// Everything has to be in Kafka within so long.
const DONE_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked how far our relay is.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Both, on the projected ledger, each to a topic of its own.
///
/// # Errors
/// When there is no broker, or one of them does not get to the end.
pub async fn measure(session: &mut Session<'_>, owner: &PgPool) -> Result<()> {
    let brokers = match &session.base.kafka {
        Ok(kafka) => kafka.brokers.clone(),
        Err(reason) => bail!("{reason}"),
    };
    let heads = Heads::read(owner).await?;
    let pool = database::connect(&session.server.url(PROJECTED), DatabaseRole::Relay, 24).await?;
    let log = Log::new(pool.clone(), [0; 32]);
    let lanes = log.lanes().await?;
    let ours = ours(session, owner, &log, &brokers, lanes, &heads).await;
    let plain = plain(session, owner, &log, &brokers, lanes, &heads).await;
    pool.close().await;
    session.note("relay/ours", "events/s", ours?, None);
    session.note("relay/acks-per-500", "events/s", plain?, None);
    Ok(())
}

/// A topic with a partition for each lane, there before anything is measured.
async fn new_topic(brokers: &str, lanes: i16) -> Result<String> {
    let name = format!("bench-{}", Uuid::new_v4().simple());
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let topic = NewTopic::new(&name, i32::from(lanes), TopicReplication::Fixed(1));
    let made = admin.create_topics(&[topic], &AdminOptions::new()).await?;
    for result in made {
        result.map_err(|(name, code)| anyhow::anyhow!("topic {name}: {code}"))?;
    }
    Ok(name)
}

async fn ours(
    session: &Session<'_>,
    owner: &PgPool,
    log: &Log,
    brokers: &str,
    lanes: i16,
    heads: &Heads,
) -> Result<Load> {
    // Of an earlier repetition, which had another topic.
    sqlx::query("delete from log.relay_checkpoints").execute(owner).await?;
    let settings = RelaySettings {
        topic: new_topic(brokers, lanes).await?,
        replication: Some(1),
        ..RelaySettings::new(brokers)
    };
    let (stop, shutdown) = service_kit::shutdown::channel();
    let running = tokio::spawn(relay::run(log.clone(), settings, shutdown));
    let cpu = session.clock.read();
    // Taking the lanes over and asking the broker where it stands happens once, so the clock starts with the first checkpoint.
    let mut first: Option<(u64, Instant)> = None;
    let began = Instant::now();
    let load = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let done: i64 = sqlx::query_scalar("select coalesce(sum(position), 0)::bigint from log.relay_checkpoints")
            .fetch_one(owner)
            .await?;
        let (done, now) = (done.unsigned_abs(), Instant::now());
        if done == 0 {
            ensure!(began.elapsed() < DONE_WITHIN, "the relay does not begin");
            continue;
        }
        let (begun, since) = *first.get_or_insert((done, now));
        if done >= heads.events() {
            break Load {
                done: done - begun,
                seconds: (now - since).as_secs_f64(),
                cpu: session.clock.read() - cpu,
                ..Load::default()
            };
        }
        ensure!(began.elapsed() < DONE_WITHIN, "the relay does not get to the end");
    };
    stop.send_replace(true);
    running.await?.context("the relay halted")?;
    ensure!(load.done > 0, "too few events to tell");
    Ok(load)
}

async fn plain(
    session: &Session<'_>,
    owner: &PgPool,
    log: &Log,
    brokers: &str,
    lanes: i16,
    heads: &Heads,
) -> Result<Load> {
    let topic = new_topic(brokers, lanes).await?;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .create()?;
    sqlx::query("create table if not exists public.plain_checkpoints (topic text primary key, position bigint)")
        .execute(owner)
        .await?;
    // Once, so that connecting is not measured here either.
    let hello = producer.send(
        FutureRecord::<str, str>::to(&topic).partition(0).payload("hello"),
        DONE_WITHIN,
    );
    hello.await.map_err(|(error, _)| error)?;
    let (cpu, began) = (session.clock.read(), Instant::now());
    let mut done = 0;
    for (lane, head) in heads.lanes() {
        let mut position = 0;
        while position < *head {
            let records = log.read_lane_stored(Lane(*lane), position, PAGE).await?;
            position = records.last().context("the lane ends early")?.position;
            let keys: Vec<String> = records.iter().map(|record| record.family_id.to_string()).collect();
            let sent = records.iter().zip(&keys).map(|(record, key)| {
                let message = FutureRecord::to(&topic)
                    .partition(i32::from(*lane))
                    .key(key)
                    .payload(&record.payload);
                producer.send(message, DONE_WITHIN)
            });
            let acknowledged = try_join_all(sent).await.map_err(|(error, _)| error)?;
            done += acknowledged.len() as u64;
            sqlx::query(SAVE).bind(&topic).bind(position).execute(owner).await?;
        }
    }
    Ok(Load {
        done,
        seconds: began.elapsed().as_secs_f64(),
        cpu: session.clock.read() - cpu,
        ..Load::default()
    })
}
