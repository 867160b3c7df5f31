//! Every view after each of 10,000 random commands, and the replay to each of those points: the same bytes.
//!
//! While the commands go in, everything is looked at after each of them and hashes are kept: every row of every read model, the
//! book, and one view in turn. Afterwards one streaming replay a family pauses at every point, and is held against what was kept.
//! At some points every page of every view is compared too, and answers over HTTP; at more than a hundred, replays with random
//! bounds of both kinds are compared with sums made from the raw events.
//!
//! `KINLEDGER_TEST_SEED` repeats a run, `KINLEDGER_TEST_COMMANDS` makes it shorter or longer.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Instant,
};

use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::{
    actor::Role,
    book::Book,
    id::{FamilyId, MemberId, UserId},
};
use event_store::{
    Lane,
    replay::{AsOf, fold},
};
use projectors::projections::PROJECTIONS;
use query_api::{
    answer::Onlooker,
    view::{ViewEntry, Viewer},
    views::VIEWS,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use replay_api::{dump::Dump, past::Past};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    naive::{Bounds, Kept, calendar},
    random::{JOINING, Sketch},
    stack::Stack,
};

/// Commands, of all families together, unless the environment says otherwise.
const COMMANDS: usize = 10_000;
/// Families, and for each its share of the commands. Several, so that lanes are shared and calendars differ.
const FAMILIES: &[(&str, [&str; 2])] = &[
    ("Europe/Berlin", ["EUR", "JPY"]),
    ("America/New_York", ["USD", "KWD"]),
    ("Pacific/Auckland", ["NZD", "EUR"]),
    ("Europe/Lisbon", ["EUR", "USD"]),
];
/// Families of each of these kinds.
const OF_EACH: usize = 12;
/// Tasks that work at once; a lane belongs to one of them.
const TASKS: usize = 4;
/// Every so many commands everything is read, not only the first pages.
const WHOLE_EVERY: usize = 40;
/// Replays with random bounds, each of the whole way from the first event.
const BOUNDED: usize = 120;

/// The views that carry money, as the founder sees them: one of them is read after each command, in turn.
const IN_TURN: &[(&str, &str)] = &[
    ("accounts", ""),
    ("bank-connections", ""),
    ("budgets", ""),
    ("chores", "status=all&limit=20"),
    ("dashboard", ""),
    ("entries", "limit=20"),
    ("imports", "limit=20"),
    ("notifications", "limit=20"),
    ("spending", "from=2024-01-01&to=2027-12-31"),
    ("trend", "months=12"),
];

/// The hash of one view's answer, or of a dump.
type Print = [u8; 16];

/// What was seen at one point of a family's history.
struct Point {
    family_seq: i64,
    /// By what was looked at: each table, a view, the book.
    prints: BTreeMap<&'static str, Print>,
    /// Of everything, at some points.
    whole: Option<Print>,
    /// A view as it was answered over HTTP, at some points.
    over_http: Option<(&'static str, Vec<u8>)>,
}

struct Home {
    sketch: Sketch,
    lane: Lane,
    book: Book,
    events: Vec<Kept>,
    points: Vec<Point>,
}

/// What came of the commands.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    back_dated: usize,
}

fn print(bytes: &[u8]) -> Print {
    Sha256::digest(bytes)[..16].try_into().unwrap()
}

fn view(name: &str) -> &'static ViewEntry {
    VIEWS.iter().find(|view| view.name == name).unwrap()
}

fn random_of(seed: u64, part: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[test]
fn replays_to_each_of_ten_thousand_points_say_what_was_said_then() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(ten_thousand());
}

fn given(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a whole number")))
}

async fn ten_thousand() {
    let seed = given("KINLEDGER_TEST_SEED").unwrap_or_else(|| rand::rng().random());
    println!("KINLEDGER_TEST_SEED={seed}");
    let commands = given("KINLEDGER_TEST_COMMANDS").map_or(COMMANDS, |commands| usize::try_from(commands).unwrap());
    let began = Instant::now();
    let stack = Arc::new(Stack::start().await);
    let homes = found(&stack, seed).await;

    // A lane is one task's, so that what it folds is what it has just recorded.
    let mut parts: Vec<Vec<Home>> = (0..TASKS).map(|_| Vec::new()).collect();
    for home in homes {
        parts[usize::try_from(home.lane.0).unwrap() % TASKS].push(home);
    }
    let families: usize = parts.iter().map(Vec::len).sum();
    let mut tasks = Vec::new();
    for (number, homes) in parts.into_iter().enumerate() {
        let share = commands * homes.len() / families;
        let (stack, random) = (Arc::clone(&stack), random_of(seed, number as u64 + 1));
        tasks.push(tokio::spawn(async move { live(&stack, homes, share, random).await }));
    }
    let (mut homes, mut tally) = (Vec::new(), Tally::default());
    for task in tasks {
        let (lived, of_task) = task.await.unwrap();
        homes.extend(lived);
        tally.accepted += of_task.accepted;
        tally.refused += of_task.refused;
        tally.back_dated += of_task.back_dated;
    }
    // Shares are rounded down; the rest goes to the first family.
    let rest = commands - tally.accepted - tally.refused;
    let last = homes.len() - 1;
    let (lived, of_rest) = live(&stack, vec![homes.swap_remove(last)], rest, random_of(seed, 99)).await;
    homes.extend(lived);
    tally.accepted += of_rest.accepted;
    tally.refused += of_rest.refused;
    tally.back_dated += of_rest.back_dated;
    println!("{tally:?} after {:.0} s", began.elapsed().as_secs_f64());
    assert_eq!(tally.accepted + tally.refused, commands);
    assert!(tally.accepted > commands * 2 / 5, "{tally:?}");
    assert!(tally.refused > commands / 20, "{tally:?}");
    assert!(tally.back_dated > commands / 10, "{tally:?}");

    let bounded = bounded_replays(&stack, &homes, random_of(seed, 100)).await;
    println!("{bounded} bounded replays after {:.0} s", began.elapsed().as_secs_f64());
    assert_eq!(bounded, BOUNDED);

    let points: usize = homes.iter().map(|home| home.points.len()).sum();
    let mut tasks: Vec<_> = (0..2).map(|_| Vec::new()).collect();
    for (number, home) in homes.into_iter().enumerate() {
        tasks[number % 2].push(home);
    }
    let replaying = |homes| {
        let stack = Arc::clone(&stack);
        tokio::spawn(async move { replay_all(&stack, homes).await })
    };
    let tasks: Vec<_> = tasks.into_iter().map(replaying).collect();
    let mut compared = Compared::default();
    for task in tasks {
        let of_task = task.await.unwrap();
        compared.points += of_task.points;
        compared.whole += of_task.whole;
        compared.over_http += of_task.over_http;
    }
    println!("{compared:?} after {:.0} s", began.elapsed().as_secs_f64());
    // A refused command leaves the point that was there, and was found unchanged when it was refused.
    assert_eq!(compared.points, points);
    assert!(compared.points >= tally.accepted, "{compared:?}");
    assert!(compared.whole > points / WHOLE_EVERY / 2, "{compared:?}");
    assert!(compared.over_http >= commands / 100, "{compared:?}");
    Arc::into_inner(stack).unwrap().database.drop().await;
}

/// The families, each with people of every role and something in an account.
async fn found(stack: &Stack, seed: u64) -> Vec<Home> {
    let mut homes = Vec::new();
    for number in 0..FAMILIES.len() * OF_EACH {
        let (zone, currencies) = FAMILIES[number % FAMILIES.len()];
        let family = FamilyId::from_uuid(Uuid::from_u128((u128::from(seed) << 32) + number as u128 + 1));
        let founder = UserId::from_uuid(Uuid::new_v4());
        let body =
            json!({"name": format!("Family {number}"), "currency": currencies[0], "zone": zone, "country": "DE"});
        stack.command(family, founder, "create-family", &body).await.unwrap();
        let lane = stack.api.lane_of(family).await.unwrap().unwrap();
        let mut checkpoint = stack.applier.checkpoint(lane).await.unwrap();
        let mut home = Home {
            sketch: Sketch::new(family, zone, currencies),
            lane,
            book: Book::new(),
            events: Vec::new(),
            points: Vec::new(),
        };
        home.fold(stack, &mut checkpoint).await;
        home.sketch.people.push((founder, home.sketch.members[0]));
        for role in JOINING {
            let mut body = json!({"display_name": role.as_str(), "role": role, "on_leaderboard": true});
            if role.is_young() {
                body["consent"] = crate::support::consent();
            }
            stack.command(family, founder, "add-member", &body).await.unwrap();
            home.fold(stack, &mut checkpoint).await;
            let (user, member) = (UserId::from_uuid(Uuid::new_v4()), *home.sketch.members.last().unwrap());
            let joined = command_api::identity::Families::join(
                &stack.api,
                family,
                member,
                user,
                domain::id::CommandId::from_uuid(Uuid::new_v4()),
            );
            joined.await.unwrap();
            home.fold(stack, &mut checkpoint).await;
            home.sketch.people.push((user, member));
        }
        for currency in currencies {
            let body = json!({"name": format!("Giro {currency}"), "kind": "bank", "currency": currency, "effective_on": "2024-01-31"});
            stack.command(family, founder, "open-account", &body).await.unwrap();
            home.fold(stack, &mut checkpoint).await;
        }
        homes.push(home);
    }
    homes
}

impl Home {
    /// Folds what the last command recorded.
    async fn fold(&mut self, stack: &Stack, checkpoint: &mut i64) {
        for record in stack.project(self.lane, checkpoint).await {
            assert_eq!(record.family_id, self.sketch.family);
            let event = fold(&mut self.book, &record).unwrap();
            self.sketch.learn(&event);
            self.events.push(Kept {
                family_seq: record.family_seq,
                effective_on: record.effective_on,
                recorded_at: record.recorded_at,
                event,
            });
        }
    }

    fn founder(&self) -> (UserId, MemberId) {
        self.sketch.people[0]
    }

    fn onlooker(&self, now: DateTime<Utc>) -> Onlooker {
        Onlooker {
            family_id: self.sketch.family,
            member_id: self.founder().1,
            role: Role::Parent,
            hidden_now: Vec::new(),
            not_ranked_now: Vec::new(),
            now,
        }
    }

    fn head(&self) -> &Kept {
        self.events.last().unwrap()
    }
}

/// Sends commands to families in turn, and looks at everything after each.
async fn live(stack: &Stack, mut homes: Vec<Home>, commands: usize, mut random: StdRng) -> (Vec<Home>, Tally) {
    let mut tally = Tally::default();
    let mut checkpoints: BTreeMap<i16, i64> = BTreeMap::new();
    for number in 0..commands {
        let at = random.random_range(0..homes.len());
        let home = &mut homes[at];
        let checkpoint = match checkpoints.entry(home.lane.0) {
            Entry::Vacant(place) => place.insert(stack.applier.checkpoint(home.lane).await.unwrap()),
            Entry::Occupied(known) => known.into_mut(),
        };
        let head = home.head().family_seq;
        let asked = home.sketch.ask(&mut random, Utc::now().date_naive(), head);
        match stack
            .command(home.sketch.family, asked.by, asked.name, &asked.body)
            .await
        {
            Ok(()) => {
                tally.accepted += 1;
                tally.back_dated += usize::from(asked.is_back_dated);
                home.fold(stack, checkpoint).await;
            }
            Err(problem) => {
                let status = problem.status().as_u16();
                assert!(
                    (400..500).contains(&status),
                    "{} {}: {status} {}",
                    asked.name,
                    asked.body,
                    problem.detail()
                );
                tally.refused += 1;
            }
        }
        let is_whole = number % WHOLE_EVERY == 0;
        let point = look(stack, home, is_whole, number % WHOLE_EVERY == 7).await;
        // What was refused, or accepted without an event, must have changed nothing.
        match home
            .points
            .last_mut()
            .filter(|before| before.family_seq == point.family_seq)
        {
            Some(before) => {
                assert_eq!(
                    before.prints, point.prints,
                    "{} {} changed a view and recorded nothing",
                    asked.name, asked.body
                );
                before.whole = before.whole.or(point.whole);
                before.over_http = before.over_http.take().or(point.over_http);
            }
            None => home.points.push(point),
        }
    }
    (homes, tally)
}

async fn look(stack: &Stack, home: &Home, is_whole: bool, is_over_http: bool) -> Point {
    let head = home.head();
    let mut tx = stack.live().await;
    let viewer = Viewer::of_onlooker(&mut tx, &home.onlooker(head.recorded_at))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(viewer.family_seq, head.family_seq);
    let prints = prints(&mut tx, &viewer, &home.book).await;
    let whole = if is_whole {
        Some(whole(&mut tx, &viewer).await)
    } else {
        None
    };
    drop(tx);
    let mut over_http = None;
    if is_over_http {
        // Views whose answer does not hang on which day it is.
        let name = [
            "accounts",
            "entries?limit=200",
            "imports",
            "trend?to=2026-06-30",
            "members",
        ][usize::try_from(head.family_seq).unwrap() % 5];
        let (status, body) = stack
            .get(
                home.founder().0,
                &format!("/api/v1/families/{}/{name}", home.sketch.family),
            )
            .await;
        assert!(status.is_success(), "{name}: {}", String::from_utf8_lossy(&body));
        over_http = Some((name, body));
    }
    Point {
        family_seq: head.family_seq,
        prints,
        whole,
        over_http,
    }
}

/// Every row of every read model, one view, and the book.
async fn prints(rows: &mut PgConnection, viewer: &Viewer, book: &Book) -> BTreeMap<&'static str, Print> {
    let mut prints = BTreeMap::new();
    // Names of our own tables. Rows are told as text, so that nothing of them can get lost on the way.
    let tables = || PROJECTIONS.iter().flat_map(|projection| projection.tables()).copied();
    let of_table = |table: &str| {
        format!(
            "(select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) from {table} t where t.family_id = $1)"
        )
    };
    let statement = format!(
        "select array[{}]",
        tables().map(of_table).collect::<Vec<_>>().join(", ")
    );
    let of_rows: Vec<String> = sqlx::query_scalar(&statement)
        .bind(viewer.family())
        .fetch_one(&mut *rows)
        .await
        .unwrap();
    prints.extend(tables().zip(of_rows.iter().map(|hash| print(hash.as_bytes()))));
    let (name, query) = in_turn(viewer.family_seq);
    let answer = view(name).answer_to(rows, viewer, Some(query)).await;
    prints.insert(
        "the view in turn",
        print(&answer.unwrap_or_else(|problem| panic!("{name}: {}", problem.detail()))),
    );
    prints.insert("the book", print(&serde_json::to_vec(&book.rows().unwrap()).unwrap()));
    prints
}

fn in_turn(family_seq: i64) -> (&'static str, &'static str) {
    IN_TURN[usize::try_from(family_seq).unwrap() % IN_TURN.len()]
}

/// Every page of every view.
async fn whole(rows: &mut PgConnection, viewer: &Viewer) -> Print {
    let mut bytes = Vec::new();
    Dump::new(&mut bytes)
        .views(rows, viewer, &AsOf::default())
        .await
        .unwrap();
    print(&bytes)
}

#[derive(Debug, Default)]
struct Compared {
    points: usize,
    whole: usize,
    over_http: usize,
}

/// One replay of each family that pauses at every point.
async fn replay_all(stack: &Stack, homes: Vec<Home>) -> Compared {
    let mut compared = Compared::default();
    for home in homes {
        let mut connection = stack.replayer.acquire().await.unwrap();
        let mut past = Past::begin(stack.api.log(), &mut connection, home.sketch.family)
            .await
            .unwrap()
            .unwrap();
        let mut book = Book::new();
        let mut records = stack
            .api
            .log()
            .read_family(home.lane, home.sketch.family, 0, 1_000_000)
            .await
            .unwrap();
        assert_eq!(records.len(), home.events.len());
        for point in &home.points {
            let at = usize::try_from(point.family_seq).unwrap() - usize::try_from(book.family_seq()).unwrap();
            let next: Vec<_> = records.drain(..at).collect();
            for record in &next {
                fold(&mut book, record).unwrap();
            }
            past.fold(next).await.unwrap();
            let recorded_at = past.last().unwrap().recorded_at;
            let viewer = past.viewer(&home.onlooker(recorded_at)).await.unwrap().unwrap();
            let again = prints(past.rows(), &viewer, &book).await;
            assert_eq!(again.len(), point.prints.len());
            let is_other = |(what, print): &(&&str, &Print)| point.prints[**what] != **print;
            let others: Vec<_> = again.iter().filter(is_other).map(|(what, _)| what).collect();
            assert!(
                others.is_empty(),
                "{} as of {}: {others:?} differ; in turn is {:?}",
                home.sketch.family,
                point.family_seq,
                in_turn(point.family_seq)
            );
            compared.points += 1;
            if let Some(then) = point.whole {
                assert_eq!(
                    whole(past.rows(), &viewer).await,
                    then,
                    "{} as of {}",
                    home.sketch.family,
                    point.family_seq
                );
                compared.whole += 1;
            }
        }
        drop(past);
        drop(connection);
        for point in &home.points {
            let Some((name, then)) = &point.over_http else { continue };
            let separator = if name.contains('?') { '&' } else { '?' };
            let path = format!(
                "/api/v1/families/{}/as-of/{name}{separator}family_seq={}",
                home.sketch.family, point.family_seq
            );
            let (status, again) = stack.get(home.founder().0, &path).await;
            assert!(status.is_success(), "{path}: {status}");
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(then), "{path}");
            compared.over_http += 1;
        }
    }
    compared
}

/// Replays from the first event with random bounds, over HTTP, against sums of the raw events.
async fn bounded_replays(stack: &Stack, homes: &[Home], mut random: StdRng) -> usize {
    for _ in 0..BOUNDED {
        let home = &homes[random.random_range(0..homes.len())];
        // Not before the founder is in it.
        let at = random.random_range(20..home.events.len());
        let mut events = &home.events[..=at];
        let bound = if random.random_bool(0.5) {
            format!("family_seq={}", events[at].family_seq)
        } else {
            // An instant takes all that was recorded at it.
            let instant = events[at].recorded_at;
            events = &home.events[..home.events.partition_point(|kept| kept.recorded_at <= instant)];
            format!(
                "recorded_at={}",
                instant.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
            )
        };
        let until = match random.random_range(0..3) {
            0 => events[random.random_range(0..events.len())].effective_on,
            1 => NaiveDate::from_ymd_opt(2024, 2, 28).unwrap() + Days::new(random.random_range(0..1_000)),
            _ => Utc::now().date_naive() + Days::new(400),
        };
        compare(stack, home, &bound, Bounds { events, until }, &mut random).await;
    }
    BOUNDED
}

async fn compare(stack: &Stack, home: &Home, bound: &str, naive: Bounds<'_>, random: &mut StdRng) {
    let family = home.sketch.family;
    let until = naive.until;
    let ask = async |what: &str| -> Value {
        let separator = if what.contains('?') { '&' } else { '?' };
        let path = format!("/api/v1/families/{family}/as-of/{what}{separator}{bound}&effective_on={until}");
        let (status, body) = stack.get(home.founder().0, &path).await;
        assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            answer["family_seq"],
            json!(naive.events.last().unwrap().family_seq),
            "{path}"
        );
        answer
    };
    let context = format!("{family} {bound} effective_on={until}");

    let accounts = ask("accounts").await;
    let balances = naive.balances();
    for account in accounts["accounts"].as_array().unwrap() {
        let key = (text(&account["account_id"]), text(&account["currency"]));
        assert_eq!(
            amount(&account["balance"]),
            balances.get(&key).copied().unwrap_or_default(),
            "{context} {key:?}"
        );
    }

    // One or two of the others each time; a replay is not free.
    match random.random_range(0..6) {
        0 => {
            let from = until - Days::new(random.random_range(0..800));
            let spending = ask(&format!("spending?from={from}&to=2030-01-01")).await;
            let rows = spending["categories"].as_array().unwrap().iter();
            let said: BTreeMap<_, _> = rows
                .map(|row| {
                    (
                        (text(&row["category_id"]), text(&row["spent"]["currency"])),
                        amount(&row["spent"]),
                    )
                })
                .collect();
            assert_eq!(said, naive.spending(from, until), "{context} from {from}");
        }
        1 => {
            let on = until + Days::new(random.random_range(0..20));
            let budgets = ask(&format!("budgets?on={on}")).await;
            let rows = budgets["budgets"].as_array().unwrap().iter();
            let said: BTreeMap<_, _> = rows
                .map(|row| (text(&row["budget_id"]), (amount(&row["amount"]), amount(&row["spent"]))))
                .collect();
            assert_eq!(said, naive.budgets(calendar(home.sketch.zone), on), "{context} on {on}");
        }
        2 => {
            let trend = ask("trend?months=40&to=2027-12-31").await;
            let rows = trend["months"].as_array().unwrap().iter();
            let mut said: BTreeMap<_, _> = rows
                .map(|row| ((text(&row["month"]), text(&row["currency"])), amount(&row["net"])))
                .collect();
            said.retain(|_, net| !net.is_zero());
            let first = NaiveDate::from_ymd_opt(2024, 9, 1).unwrap();
            assert_eq!(
                said,
                naive.net(first, NaiveDate::from_ymd_opt(2027, 12, 1).unwrap()),
                "{context}"
            );
        }
        3 => {
            let mut said = Vec::new();
            let mut page = ask("entries?limit=200").await;
            loop {
                let rows = page["entries"].as_array().unwrap().iter();
                said.extend(rows.map(|row| (text(&row["entry_id"]), row["is_reversed"].as_bool().unwrap())));
                let Some(next) = page["next"].as_str() else { break };
                page = ask(&format!("entries?limit=200&after={next}")).await;
            }
            assert_eq!(said, naive.entries(), "{context}");
        }
        4 => {
            let imports = ask("imports?limit=200").await;
            // One that is named and not booked yet has no sum.
            let rows = imports["imports"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| row["booked"].is_object());
            let said: BTreeMap<_, _> = rows
                .map(|row| (text(&row["import_id"]), amount(&row["booked"])))
                .collect();
            assert_eq!(said, naive.imports(), "{context}");
        }
        _ => {
            let banks = ask("bank-connections").await;
            let rows = banks["bank_connections"].as_array().unwrap().iter();
            let said: BTreeMap<_, _> = rows
                .map(|row| {
                    (
                        text(&row["connection_id"]),
                        row["bank_balance"].is_object().then(|| amount(&row["bank_balance"])),
                    )
                })
                .collect();
            assert_eq!(said, naive.banks(), "{context}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn amount(money: &Value) -> Decimal {
    text(&money["amount"]).parse().unwrap()
}
