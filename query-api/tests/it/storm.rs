//! Many families over few connections: nothing of one request is left for the next, and nobody learns by what an answer costs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::http::StatusCode;
use service_kit::{
    database::{self, DatabaseRole},
    testing::statements::{Sent, Wire},
};
use sqlx::PgPool;
use tokio::task::JoinSet;

use query_api::views::VIEWS;

use crate::home::*;

const FAMILIES: u128 = 50;
const CONNECTIONS: u32 = 5;
const REQUESTS: usize = 5_000;
const AT_ONCE: usize = 50;
const ROLES: [&str; 4] = ["parent", "partner", "teen", "child"];

fn family(number: u128) -> u128 {
    0x1_0000 + number
}

fn member(number: u128, role: usize) -> u128 {
    0x2_0000 + number * 8 + role as u128
}

/// A word that stands in every row of a family, and in none of another's.
fn mark(number: u128) -> String {
    format!("mark-{number:02}-")
}

async fn found_fifty(home: &Home) {
    let insert = async |head: &str, row: &dyn Fn(u128) -> String| {
        let rows: Vec<String> = (0..FAMILIES).map(row).collect();
        home.run(&format!("{head} values {}", rows.join(", "))).await;
    };
    insert(
        "insert into views.families (family_id, name, currency, zone, week_start, created_at)",
        &|number| {
            format!(
                "('{}', '{}', 'EUR', 'Europe/Berlin', 'monday', now())",
                uuid(family(number)),
                mark(number)
            )
        },
    )
    .await;
    insert(
        "insert into views.family_heads (family_id, lane, family_seq, chain_hash, recorded_at)",
        &|number| format!("('{}', 0, 100, '\\x00', now())", uuid(family(number))),
    )
    .await;
    insert(
        "insert into views.members (family_id, member_id, display_name, role, on_leaderboard, user_id, added_at)",
        &|number| {
            let members = ROLES.iter().enumerate().map(|(index, role)| {
                let id = uuid(member(number, index));
                format!(
                    "('{}', '{id}', '{}{role}', '{role}', true, '{id}', now())",
                    uuid(family(number)),
                    mark(number)
                )
            });
            members.collect::<Vec<_>>().join(", ")
        },
    )
    .await;
    insert(
        "insert into views.consent_rules (family_id, country, age, notice_version)",
        &|number| format!("('{}', 'DE', 16, 1)", uuid(family(number))),
    )
    .await;
    insert(
        "insert into views.consents (family_id, member_id, notice_version, is_revoked)",
        &|number| {
            let young = [2, 3].map(|role| {
                let (family, member) = (uuid(family(number)), uuid(member(number, role)));
                format!("('{family}', '{member}', 1, false)")
            });
            young.join(", ")
        },
    )
    .await;
    insert(
        "insert into views.accounts (family_id, account_id, name, kind, currency, owner_id, is_closed, opened_on, balance)",
        &|number| {
            format!(
                "('{}', '{}', '{}bank', 'bank', 'EUR', null, false, '2026-01-01', 0)",
                uuid(family(number)),
                uuid(0x3_0000 + number),
                mark(number)
            )
        },
    )
    .await;
}

/// What a connection of the pool still knows, and sees, of a family.
async fn left_over(pool: &PgPool) -> (Option<String>, i64) {
    sqlx::query_as(
        "select nullif(current_setting('kinledger.family_id', true), ''), (select count(*) from views.members)",
    )
    .fetch_one(pool)
    .await
    .expect("a connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_connections_serve_fifty_families_and_carry_none_of_them_over() {
    let mut kept = None;
    let home = Home::on_pool(async |database| {
        let pool = database::connect(&database.url(), DatabaseRole::Reader, CONNECTIONS).await;
        let pool = pool.expect("the test database answers");
        kept = Some(pool.clone());
        pool
    })
    .await;
    let pool = kept.expect("the pool");
    found_fifty(&home).await;
    let (home, answered) = (Arc::new(home), Arc::new([const { AtomicUsize::new(0) }; 3]));
    let mut asking = JoinSet::new();
    for request in 0..REQUESTS {
        if asking.len() >= AT_ONCE {
            asking
                .join_next()
                .await
                .expect("one is asking")
                .expect("it was answered rightly");
        }
        if request % 50 == 0 {
            assert_eq!(left_over(&pool).await, (None, 0), "before request {request}");
        }
        let (home, answered) = (Arc::clone(&home), Arc::clone(&answered));
        asking.spawn(async move {
            // A step that shares no factor with the counts goes through all pairs.
            let own = (request as u128 * 7) % FAMILIES;
            let role = request % ROLES.len();
            let asked = if request % 4 == 3 {
                (own + 1 + request as u128 % 48) % FAMILIES
            } else {
                own
            };
            let view = ["members", "accounts", "dashboard", "categories", "budgets"][(request / 4) % 5];
            let path = format!("/api/v1/families/{}/{view}", uuid(family(asked)));
            let (status, _, body) = home.ask(member(own, role), &path, None).await;
            let text = body.to_string();
            for number in (0..FAMILIES).filter(|number| *number != own) {
                assert!(
                    !text.contains(&mark(number)),
                    "{view} of {own} as {}: {text}",
                    ROLES[role]
                );
            }
            let place = match status {
                StatusCode::OK if asked == own => 0,
                StatusCode::FORBIDDEN if asked == own => 1,
                StatusCode::NOT_FOUND if asked != own => 2,
                status => panic!("{view} of {asked} as {} of {own}: {status} {text}", ROLES[role]),
            };
            if place == 0 && view == "members" {
                assert!(text.contains(&mark(own)), "{text}");
            }
            answered[place].fetch_add(1, Ordering::Relaxed);
        });
    }
    while let Some(done) = asking.join_next().await {
        done.expect("it was answered rightly");
    }
    let counts = [0, 1, 2].map(|place| answered[place].load(Ordering::Relaxed));
    println!(
        "{} answered, {} not allowed, {} not found",
        counts[0], counts[1], counts[2]
    );
    assert_eq!(counts.iter().sum::<usize>(), REQUESTS);
    assert!(counts[0] > 2_500 && counts[2] > 1_000, "{counts:?}");
    // Every connection at once, so that each of them is looked at.
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = pool.acquire().await.expect("a connection");
        let left: Option<String> =
            sqlx::query_scalar("select nullif(current_setting('kinledger.family_id', true), '')")
                .fetch_one(&mut *connection)
                .await
                .expect("a setting");
        assert_eq!(left, None);
        held.push(connection);
    }
    drop(held);
    Arc::into_inner(home).expect("nobody else has it").database.drop().await;
}

/// Statements that forget their family, each under another family's setting: nothing of any other is there to be found.
#[tokio::test]
async fn statements_without_a_family_in_them_find_one_family_only() {
    let home = Home::new().await;
    found_fifty(&home).await;
    let mut looked = 0;
    for role in [DatabaseRole::Reader, DatabaseRole::Replayer] {
        let pool = home.database.pool(role).await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             join pg_attribute a on a.attrelid = c.oid and a.attname = 'family_id'
             where n.nspname = 'views' and c.relkind in ('r', 'p') and has_table_privilege(current_user, c.oid, 'select')",
        )
        .fetch_all(&pool)
        .await
        .expect("tables");
        for number in 0..FAMILIES {
            let mut tx = pool.begin().await.expect("a transaction");
            sqlx::query("select set_config('kinledger.family_id', $1, true)")
                .bind(uuid(family(number)).to_string())
                .execute(&mut *tx)
                .await
                .expect("a setting");
            for table in &tables {
                let foreign: i64 =
                    sqlx::query_scalar(&format!("select count(*) from views.{table} where family_id <> $1"))
                        .bind(uuid(family(number)))
                        .fetch_one(&mut *tx)
                        .await
                        .expect("a count");
                assert_eq!(foreign, 0, "{table} as {role:?}");
                looked += 1;
            }
        }
    }
    assert!(looked >= 50 * 15, "{looked}");
    home.database.drop().await;
}

/// Time that differs would tell that a family exists. Clocks are too coarse to hold it; what is asked of the database is not.
#[tokio::test]
async fn a_foreign_family_costs_exactly_what_one_costs_that_does_not_exist() {
    let mut wire = None;
    let home = Home::on_pool(async |database| {
        let watching = Wire::to(database).await;
        let pool = database::connect(watching.url(), DatabaseRole::Reader, 1).await;
        wire = Some(watching);
        pool.expect("the test database answers")
    })
    .await;
    let wire = wire.expect("a wire");
    let texts = || -> Vec<String> {
        let statement = |sent| match sent {
            Sent::Statement(text) => Some(text.to_string()),
            Sent::Ping | Sent::Prepared(_) => None,
        };
        wire.take().into_iter().filter_map(statement).collect()
    };
    // The first look also prepares its statement.
    home.try_view(STRANGER, "members").await;
    for view in VIEWS {
        let mut costs = Vec::new();
        for family in [FAMILY, 0xDEAD, FAMILY, 0xBEEF] {
            texts();
            let path = format!("/api/v1/families/{}/{}", uuid(family), view.name);
            let (status, headers, body) = home.ask(STRANGER, &path, None).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            costs.push((texts(), headers, body));
        }
        assert!(!costs[0].0.is_empty(), "it was looked up");
        assert!(
            costs.windows(2).all(|pair| pair[0] == pair[1]),
            "{}: {costs:?}",
            view.name
        );
    }
    home.database.drop().await;
}
