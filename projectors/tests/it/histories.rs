//! Random histories: rows built again are the rows that were folded as the events came, however either was cut into batches.

use domain::calendar::Period;
use projectors::rebuild::{Limits, Request, rebuild};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{given::*, ledger::*, parking::poison, stories};

const HISTORIES: usize = 6;
const FAMILIES: u128 = 5;
const ACTS: usize = 120;

/// What an expense is, so that later events fit it.
#[derive(Clone, Copy)]
struct Spent {
    family: u128,
    number: u128,
    account: u128,
    category: u128,
    cents: u32,
}

struct History {
    random: StdRng,
    spent: Vec<Spent>,
    next: u128,
}

impl History {
    fn amount(cents: u32) -> String {
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    fn act(&mut self, family_number: u128) -> Vec<Given> {
        let f = family(family_number);
        let on = day(self.random.random_range(1..=6), self.random.random_range(1..=28));
        self.next += 1;
        let number = self.next;
        match self.random.random_range(0..10) {
            0..=4 => {
                let spent = Spent {
                    family: family_number,
                    number,
                    account: self.random.random_range(1..=2),
                    category: 1,
                    cents: self.random.random_range(1..50_000),
                };
                self.spent.push(spent);
                let by = self.random.random_range(1..=4);
                vec![expense(
                    f,
                    number,
                    (spent.account, 1),
                    &Self::amount(spent.cents),
                    on,
                    by,
                )]
            }
            5 => vec![income(
                f,
                number,
                &Self::amount(self.random.random_range(1..900_000)),
                on,
            )],
            6 => vec![pocket_money(
                f,
                number,
                &Self::amount(self.random.random_range(1..2_000)),
                on,
            )],
            7 => vec![budget_set(
                f,
                self.random.random_range(1..=2),
                Period::Month,
                &Self::amount(number as u32 + 1),
                on,
            )],
            8 => match self.spent.iter_mut().rev().find(|spent| spent.family == family_number) {
                Some(spent) => {
                    let from = spent.category;
                    spent.category = 3 - from;
                    vec![recategorised(
                        f,
                        spent.number,
                        from,
                        spent.category,
                        &Self::amount(spent.cents),
                        on,
                    )]
                }
                None => Vec::new(),
            },
            _ => match self.spent.iter().position(|spent| spent.family == family_number) {
                Some(index) => {
                    let spent = self.spent.remove(index);
                    vec![expense_reversed(
                        f,
                        spent.number,
                        (spent.account, spent.category),
                        &Self::amount(spent.cents),
                        on,
                    )]
                }
                None => Vec::new(),
            },
        }
    }
}

#[tokio::test]
async fn rows_of_random_histories_are_the_same_live_and_built_again() {
    let seed = std::env::var("KINLEDGER_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KINLEDGER_SEED={seed}");
    for round in 0..HISTORIES as u64 {
        let mut history = History {
            random: StdRng::seed_from_u64(seed.wrapping_add(round)),
            spent: Vec::new(),
            next: 0x100,
        };
        let mut ledger = Ledger::new().await;
        for number in 1..=FAMILIES {
            let f = family(number);
            ledger.append(f, founding(f)).await;
            ledger.append(f, stories::chore_story(f)).await;
            ledger.append(f, stories::import_story(f)).await;
        }
        let sick = history.random.random_range(1..=FAMILIES);
        let sickens_at = history.random.random_range(0..ACTS);
        let mut events = 0;
        for act in 0..ACTS {
            let number = history.random.random_range(1..=FAMILIES);
            let given = history.act(number);
            events += given.len();
            if !given.is_empty() {
                ledger.append(family(number), given).await;
            }
            if act == sickens_at && round % 2 == 1 {
                ledger.append(family(sick), vec![poison(family(sick))]).await;
            }
            if history.random.random_range(0..8) == 0 {
                ledger.project_isolating(history.random.random_range(1..60)).await;
            }
        }
        ledger.project_isolating(1_000).await;
        let live = ledger.dump().await;
        let request = Request {
            limits: Limits {
                parallel: history.random.random_range(1..4),
                page: history.random.random_range(5..400),
                whole_max: history.random.random_range(0..300),
            },
            ..Request::default()
        };
        let report = rebuild(&ledger.views, &ledger.applier.log, &request, &|_| {}).await;
        let report = report.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        assert!(report.is_same() && report.freed.is_empty(), "round {round}: {report:?}");
        let again = ledger.dump().await;
        for (one, other) in live.iter().zip(&again) {
            assert_eq!(one, other, "round {round}, {:?}", request.limits);
        }
        assert_eq!(live.len(), again.len(), "round {round}");
        let parked = if round % 2 == 1 { "1" } else { "0" };
        assert_eq!(ledger.value("select count(*) from parked_families").await, parked);
        println!(
            "round {round}: {events} events, {} rows, {:?}",
            again.len(),
            request.limits
        );
        ledger.database.drop().await;
    }
}
