//! Random commands: all 24 kinds, by people of every role, sensible and senseless, of today and of days long past.

use chrono::{Days, NaiveDate};
use domain::{
    Currency,
    actor::Role,
    aggregate::LedgerEvent,
    bank_connection::BankConnectionEvent,
    category::{CategoryEvent, CategoryKind},
    chore::ChoreEvent,
    entry::EntryEvent,
    family::FamilyEvent,
    id::{FamilyId, MemberId, UserId},
    ledger_account::LedgerAccountEvent,
    statement_import::StatementImportEvent,
};
use rand::{
    Rng,
    rngs::StdRng,
    seq::{IndexedRandom, IteratorRandom},
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Command names with how often each comes, in parts of the sum.
const WEIGHTS: &[(&str, u32)] = &[
    ("add-category", 20),
    ("add-expense", 220),
    ("add-income", 80),
    ("add-member", 8),
    ("approve-chore", 50),
    ("award-badge", 20),
    ("change-role", 8),
    ("choose-leaderboard", 10),
    ("claim-chore", 50),
    ("close-account", 6),
    ("complete-chore", 50),
    ("connect-bank", 20),
    ("create-family", 3),
    ("mark-notifications-read", 30),
    ("offer-chore", 60),
    ("open-account", 25),
    ("recategorise-entry", 70),
    ("reject-chore", 15),
    ("reverse-entry", 90),
    ("set-budget", 50),
    ("share-account", 6),
    ("sync-bank", 60),
    ("transfer", 80),
    ("undo-import", 25),
];

/// Days on which calendars err: a leap day, both changes of the clock, ends of months and of a year.
const ODD_DAYS: &[(i32, u32, u32)] = &[
    (2024, 2, 29),
    (2025, 12, 31),
    (2026, 1, 1),
    (2026, 1, 31),
    (2026, 2, 28),
    (2026, 3, 29),
    (2026, 10, 25),
];

/// What a family has, as far as a client has to know to ask something sensible.
pub struct Sketch {
    pub family: FamilyId,
    pub zone: &'static str,
    pub currencies: [Currency; 2],
    /// Who signs in; the first founded the family and stays a parent.
    pub people: Vec<(UserId, MemberId)>,
    pub members: Vec<MemberId>,
    accounts: Vec<(String, Currency)>,
    categories: Vec<(String, CategoryKind)>,
    entries: Vec<String>,
    chores: Vec<String>,
    connections: Vec<(String, Currency)>,
    imports: Vec<String>,
    named: u32,
}

/// One command about to be sent.
pub struct Asked {
    pub by: UserId,
    pub name: &'static str,
    pub body: Value,
    /// Does it name a day before today?
    pub is_back_dated: bool,
}

impl Sketch {
    pub fn new(family: FamilyId, zone: &'static str, currencies: [&str; 2]) -> Self {
        Self {
            family,
            zone,
            currencies: currencies.map(|code| code.parse().unwrap()),
            people: Vec::new(),
            members: Vec::new(),
            accounts: Vec::new(),
            categories: Vec::new(),
            entries: Vec::new(),
            chores: Vec::new(),
            connections: Vec::new(),
            imports: Vec::new(),
            named: 0,
        }
    }

    /// Takes note of what was recorded.
    pub fn learn(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Family(FamilyEvent::MemberAdded(added)) => self.members.push(added.member_id),
            LedgerEvent::LedgerAccount(LedgerAccountEvent::AccountOpened(opened)) => {
                self.accounts.push((opened.account_id.to_string(), opened.currency));
            }
            LedgerEvent::Category(CategoryEvent::CategoryAdded(added)) => {
                self.categories.push((added.category_id.to_string(), added.kind));
            }
            LedgerEvent::Entry(EntryEvent::EntryReversed(_) | EntryEvent::EntryRecategorised(_)) => {}
            LedgerEvent::Entry(event) => self.entries.push(event.entry_id().to_string()),
            LedgerEvent::Chore(ChoreEvent::ChoreOffered(offered)) => self.chores.push(offered.chore_id.to_string()),
            LedgerEvent::BankConnection(BankConnectionEvent::BankConnected(connected)) => {
                let account = connected.account_id.to_string();
                let currency = self.accounts.iter().find(|(id, _)| *id == account).unwrap().1;
                self.connections.push((connected.connection_id.to_string(), currency));
            }
            LedgerEvent::StatementImport(StatementImportEvent::StatementImported(imported)) => {
                self.imports.push(imported.import_id.to_string());
            }
            _ => {}
        }
    }

    /// The next command.
    pub fn ask(&mut self, random: &mut StdRng, today: NaiveDate, head: i64) -> Asked {
        let name = WEIGHTS.choose_weighted(random, |(_, weight)| *weight).unwrap().0;
        self.named += 1;
        let day = day(random, today);
        let body = self.body(name, random, day, head);
        let is_young_enough = matches!(
            name,
            "add-expense" | "claim-chore" | "complete-chore" | "mark-notifications-read" | "transfer"
        );
        // Mostly somebody who may; one in eight is anybody.
        let is_anybodys = is_young_enough && random.random_ratio(1, 3);
        let by = if is_anybodys || random.random_ratio(1, 8) {
            self.people.choose(random).unwrap().0
        } else {
            self.people[random.random_range(0..2)].0
        };
        Asked {
            by,
            name,
            is_back_dated: body.to_string().contains("_on\":\"") && day.is_some_and(|day| day < today),
            body,
        }
    }

    fn body(&self, name: &str, random: &mut StdRng, day: Option<NaiveDate>, head: i64) -> Value {
        let number = self.named;
        let (account, currency) = self.account(random);
        let money = |random: &mut StdRng, currency: Currency| money(random, currency, 60_000);
        let mut body = match name {
            "add-category" => {
                json!({"name": format!("Category {}", number % 40), "kind": one(random, &["expense", "income"])})
            }
            "add-expense" | "add-income" => {
                let kind = if name == "add-expense" {
                    CategoryKind::Expense
                } else {
                    CategoryKind::Income
                };
                json!({
                    "account_id": account, "money": money(random, currency), "category_id": self.category(random, kind),
                    "payee": format!("Shop {}", number % 9), "note": "naïve ☂ \"quoted\"",
                })
            }
            "add-member" => {
                let role = one(random, &["partner", "teen", "child", "auditor"]);
                let mut body = json!({
                    "display_name": format!("Member {number}"), "role": role, "on_leaderboard": random.random_bool(0.5),
                });
                // One in four of the young waits for consent.
                if ["teen", "child"].contains(&role) && random.random_bool(0.75) {
                    body["consent"] = crate::support::consent();
                }
                body
            }
            "approve-chore" | "claim-chore" | "complete-chore" | "reject-chore" => {
                // The newest are the likeliest to be ready for it.
                let recent = self.chores.len().saturating_sub(6);
                json!({"chore_id": pick(random, &self.chores[recent..], "cho")})
            }
            "award-badge" => json!({
                "member_id": self.members.choose(random), "badge": format!("Badge {}", number % 30), "points": random.random_range(0..9),
                "reason": "well done",
            }),
            "change-role" => json!({
                "member_id": self.members[1..].choose(random), "role": one(random, &["partner", "teen", "child", "auditor"]),
            }),
            "choose-leaderboard" => {
                json!({"member_id": self.members.choose(random), "on_leaderboard": random.random_bool(0.5)})
            }
            "close-account" => json!({"account_id": account}),
            "connect-bank" => json!({"account_id": account, "institution": "Bank"}),
            "create-family" => json!({"name": "Again", "currency": currency}),
            "mark-notifications-read" => json!({"up_to_family_seq": random.random_range(0..=head + 1)}),
            "offer-chore" => {
                let mut body = json!({"title": format!("Chore {number}"), "points": random.random_range(0..20)});
                if random.random_bool(0.5) {
                    body["reward"] = json!({"money": money(random, currency), "pay_from": account});
                }
                if random.random_bool(0.3) {
                    body["offered_to"] = json!(self.members.choose(random));
                }
                body
            }
            "open-account" => {
                let currency = self.currencies[usize::from(random.random_ratio(1, 3))];
                let kind = *["bank", "bank", "cash", "card", "wallet"].choose(random).unwrap();
                let mut body = json!({"name": format!("Account {number}"), "kind": kind, "currency": currency});
                if kind == "wallet" {
                    body["owner"] = json!(self.members.choose(random));
                } else if random.random_bool(0.5) {
                    body["opening_balance"] = money(random, currency);
                }
                body
            }
            "recategorise-entry" => {
                let kind = if random.random_bool(0.8) {
                    CategoryKind::Expense
                } else {
                    CategoryKind::Income
                };
                json!({"entry_id": self.entry(random), "to": self.category(random, kind)})
            }
            "reverse-entry" => json!({"entry_id": self.entry(random), "reason": "wrong"}),
            "set-budget" => json!({
                "category_id": self.category(random, CategoryKind::Expense), "amount": money(random, self.currencies[0]),
                "period": one(random, &["week", "month"]),
            }),
            // Nothing is hidden from the founder, by whose sight past and present are compared.
            "share-account" => json!({
                "account_id": account, "member_id": self.members.iter().skip(1).choose(random),
                "level": one(random, &["none", "view", "annotate", "full"]),
            }),
            "sync-bank" => return self.statement(random, day),
            "transfer" => {
                let (to, received) = self.account(random);
                let mut body = json!({"from": account, "to": to, "money": money(random, currency)});
                if received != currency {
                    body["received"] = money(random, received);
                }
                body
            }
            "undo-import" => {
                json!({"import_id": pick(random, &self.imports[self.imports.len().saturating_sub(3)..], "imp")})
            }
            other => panic!("no body for {other}"),
        };
        let takes_day = matches!(
            name,
            "add-expense" | "add-income" | "open-account" | "reverse-entry" | "set-budget" | "transfer"
        );
        // A reversal mostly counts for the day of its entry.
        let is_named = takes_day && (name != "reverse-entry" || random.random_bool(0.4));
        if let Some(day) = day.filter(|_| is_named) {
            body["effective_on"] = json!(day);
        }
        body
    }

    /// A statement of a few rows around a day, some of which may be known from another.
    fn statement(&self, random: &mut StdRng, day: Option<NaiveDate>) -> Value {
        let (connection, currency) = match self.connections.choose(random) {
            Some((id, currency)) => (id.clone(), *currency),
            None => (nobodys("con"), self.currencies[0]),
        };
        let first = day.unwrap_or_else(|| NaiveDate::from_ymd_opt(2026, 6, 15).unwrap());
        let rows: Vec<Value> = (0..random.random_range(0..5))
            .map(|number| {
                let mut amount = money(random, currency, 400);
                if random.random_bool(0.7) {
                    amount["amount"] = json!(format!("-{}", amount["amount"].as_str().unwrap()));
                }
                let mut row = json!({"booked_on": first + Days::new(number * 2), "amount": amount, "counterparty": "Somebody", "remittance": "R"});
                if random.random_bool(0.3) {
                    row["category"] = json!(["Food", "Expenses:Rent", "Income:Wage"].choose(random));
                }
                row
            })
            .collect();
        json!({"connection_id": connection, "source": "csv", "statement": {"currency": currency, "rows": rows}})
    }

    fn account(&self, random: &mut StdRng) -> (String, Currency) {
        match self.accounts.choose(random) {
            Some((id, currency)) if !random.random_ratio(1, 40) => (id.clone(), *currency),
            _ => (nobodys("acc"), self.currencies[0]),
        }
    }

    fn category(&self, random: &mut StdRng, kind: CategoryKind) -> String {
        let of_kind: Vec<&String> = self
            .categories
            .iter()
            .filter(|(_, of)| *of == kind)
            .map(|(id, _)| id)
            .collect();
        match of_kind.choose(random) {
            Some(id) if !random.random_ratio(1, 40) => (*id).clone(),
            _ => nobodys("cat"),
        }
    }

    fn entry(&self, random: &mut StdRng) -> String {
        pick(random, &self.entries, "ent")
    }
}

/// Most commands of a family are its founder's and their partner's; roles of the people who join.
pub const JOINING: [Role; 4] = [Role::Partner, Role::Teen, Role::Child, Role::Auditor];

fn one(random: &mut StdRng, of: &[&'static str]) -> &'static str {
    of.choose(random).copied().unwrap_or_default()
}

fn pick(random: &mut StdRng, ids: &[String], prefix: &str) -> String {
    ids.choose(random).cloned().unwrap_or_else(|| nobodys(prefix))
}

fn nobodys(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::nil())
}

/// An amount at its currency's scale, from the least there is.
fn money(random: &mut StdRng, currency: Currency, most: u32) -> Value {
    let units = random.random_range(1..=most);
    let amount = rust_decimal::Decimal::new(i64::from(units), currency.scale());
    json!({"amount": amount.to_string(), "currency": currency})
}

/// No day half of the time; else an odd one, one of the last 400, one to come, or one no ledger keeps.
fn day(random: &mut StdRng, today: NaiveDate) -> Option<NaiveDate> {
    match random.random_range(0..100) {
        0..40 => None,
        40..60 => ODD_DAYS
            .choose(random)
            .and_then(|(y, m, d)| NaiveDate::from_ymd_opt(*y, *m, *d)),
        60..90 => Some(today - Days::new(random.random_range(1..400))),
        90..98 => Some(today + Days::new(random.random_range(1..60))),
        _ => NaiveDate::from_ymd_opt(1969, 12, 31),
    }
}
