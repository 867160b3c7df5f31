//! From commit to view: commands come at a steady rate, half of what measure 1 takes, and for each it is noted how long after
//! its answer the projector has committed its rows. An open loop: what is late does not hold up what comes after.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use projectors::Progress;
use tokio::task::JoinSet;

use crate::{
    driver::Load,
    http::Http,
    ledger::{Expense, Family},
    repetition::Session,
};

/// Connections that share the load.
const CONNECTIONS: usize = 64;
/// How often it is looked how far the views are.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// The last rows have to be there within so long.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Commands a second when measure 1 was not taken.
const OTHERWISE: f64 = 2_000.0;

/// What was answered and is not seen yet, by lane.
type Waiting = Arc<Mutex<Vec<VecDeque<(i64, Instant)>>>>;

/// Measures it on a ledger whose projectors are running.
///
/// # Errors
/// When commands are refused or the views do not catch up.
pub async fn measure(
    session: &mut Session<'_>,
    http: &Http,
    tokens: Arc<Vec<String>>,
    families: &[Family],
    progress: &Progress,
) -> Result<()> {
    let half = session
        .found
        .get("http/many/256")
        .map_or(OTHERWISE, |measured| measured.rate / 2.0);
    let every = Duration::from_secs_f64(CONNECTIONS as f64 / half);
    let families = Arc::new(families.to_vec());
    let waiting: Waiting = Arc::new(Mutex::new(vec![VecDeque::new(); 1_024]));
    let duration = session.args.duration().max(Duration::from_secs(3));
    let (cpu, began) = (session.clock.read(), Instant::now());
    let mut sending = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (families, waiting, tokens) = (Arc::clone(&families), Arc::clone(&waiting), Arc::clone(&tokens));
        let address = http.address;
        sending.spawn(async move {
            let mut connection = crate::generator::Connection::open(address).await?;
            let offset = every.mul_f64(number as f64 / CONNECTIONS as f64);
            let mut ticks = tokio::time::interval_at((began + offset).into(), every);
            let mut sent = 0_u64;
            let mut body = String::new();
            while began.elapsed() < duration {
                ticks.tick().await;
                let family = &families[(number * 31 + sent as usize) % families.len()];
                body.clear();
                Expense::of(sent).write_body(family, &mut body);
                let path = format!("/api/v1/families/{}/commands/add-expense", family.id);
                let token = &tokens[number % tokens.len()];
                let (status, answer) = connection.post(&path, token, &body).await?;
                anyhow::ensure!(status == 200, "{status}: {answer}");
                let answered_at = Instant::now();
                let place = place(answer).context("a receipt without a place")?;
                let mut waiting = waiting.lock().map_err(|_| anyhow::anyhow!("a connection panicked"))?;
                waiting[place.0].push_back((place.1, answered_at));
                sent += 1;
            }
            anyhow::Ok(sent)
        });
    }
    let mut load = Load::default();
    let mut sent = 0;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        while let Some(done) = sending.try_join_next() {
            sent += done??;
        }
        if see(&waiting, progress, &mut load) && sending.is_empty() {
            break;
        }
        anyhow::ensure!(began.elapsed() < duration + SETTLED_WITHIN, "the views do not catch up");
    }
    load.seconds = began.elapsed().as_secs_f64();
    load.cpu = session.clock.read() - cpu;
    if load.done != sent {
        session.fault(format!("{sent} commands sent, {} seen in the views", load.done));
    }
    session.note("visible/half", "commands/s", load, None);
    Ok(())
}

/// Notes what the views have reached; is nothing left?
fn see(waiting: &Waiting, progress: &Progress, load: &mut Load) -> bool {
    let positions = progress.positions();
    let now = Instant::now();
    let Ok(mut waiting) = waiting.lock() else { return true };
    let mut is_empty = true;
    for (lane, answers) in waiting.iter_mut().enumerate() {
        let folded = i16::try_from(lane)
            .ok()
            .and_then(|lane| positions.get(&lane))
            .map_or(0, |(folded, _)| *folded);
        // Answers of one lane may be noted out of order by a hair.
        answers.retain(|(position, answered_at)| {
            if *position <= folded {
                load.note(now - *answered_at, Ok(0));
            }
            *position > folded
        });
        is_empty &= answers.is_empty();
    }
    is_empty
}

/// Lane and position of a receipt.
fn place(receipt: &str) -> Option<(usize, i64)> {
    let number = |name: &str| {
        let (_, rest) = receipt.split_once(name)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        rest[..end].parse::<i64>().ok()
    };
    Some((usize::try_from(number("\"lane\":")?).ok()?, number("\"position\":")?))
}
