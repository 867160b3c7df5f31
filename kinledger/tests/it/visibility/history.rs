//! One random history, told to two worlds that differ only in what is hidden from one member, the seer.
//!
//! Two sources of chance: `shared` decides what happens, in which order, and everything the seer may know; `secret` fills in what
//! is hidden from them. The first is seeded alike in both worlds, the second is not. So both logs have the same number of events,
//! which is not hidden, and the same contents wherever the seer may look.

use chrono::{Days, NaiveDate};
use domain::{actor::Role, id::UserId};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{Home, Person, World};

/// Two parents, a partner, a teen, two children, an auditor.
pub const ROLES: [Role; 7] = [
    Role::Parent,
    Role::Parent,
    Role::Partner,
    Role::Teen,
    Role::Child,
    Role::Child,
    Role::Auditor,
];
/// Who looks, by their place above. The founder sees everything, and is who comparisons are controlled by.
pub const SEERS: [usize; 5] = [1, 2, 3, 4, 6];
const FOUNDER: usize = 0;
/// The pocket whose owner has a limit where it is hidden.
const SIBLINGS: usize = 8;
/// Things that happen after a family is founded and furnished.
const STEPS: usize = 45;

/// The account in another currency than the family's; hidden from everybody who looks.
const DOLLARS: usize = 9;

/// Accounts: name, kind, owner's place.
const ACCOUNTS: [(&str, &str, Option<usize>); 10] = [
    ("Household", "bank", None),
    ("Tin", "cash", None),
    ("Savings", "bank", Some(0)),
    ("Shares", "bank", Some(0)),
    ("Current", "bank", Some(2)),
    ("Second", "bank", Some(2)),
    ("Teen's", "wallet", Some(3)),
    ("Child's", "wallet", Some(4)),
    ("Sibling's", "wallet", Some(5)),
    ("Dollars", "bank", Some(0)),
];

/// What a family has come to, as far as questions about it have to know.
pub struct Told {
    pub home: Home,
    pub seer: Person,
    pub founder: Person,
    pub accounts: Vec<String>,
    pub categories: Vec<String>,
    /// The accounts hidden from the seer, by their place in the list.
    pub hidden: Vec<usize>,
    pub entries: Vec<String>,
    /// Entries whose ids are made of what they say: of bank rows.
    pub booked: Vec<String>,
    pub imports: Vec<String>,
    /// Files that were uploaded to hidden accounts.
    pub files: Vec<String>,
    pub chores: Vec<String>,
    /// Requests to spend from a hidden pocket, and who asked.
    pub requests: Vec<String>,
    pub asker: Person,
    /// Words that only hidden things have.
    pub secrets: Vec<String>,
    pub events: i64,
}

/// An entry on a hidden account.
struct Hidden {
    entry: String,
    category: Option<String>,
}

struct Teller<'w> {
    world: &'w World,
    told: Told,
    expense: Vec<String>,
    income: Vec<String>,
    shared: StdRng,
    secret: StdRng,
    steps: usize,
    /// Hidden entries by what an undoing of them records.
    plain: Vec<Hidden>,
    split: Vec<Hidden>,
    moved: Vec<Hidden>,
    /// Hidden accounts that statements are booked in, with the imports that stand.
    fed: Vec<(usize, Vec<String>)>,
    read_up_to: i64,
    levels: Vec<&'static str>,
}

/// Tells the history of a seed, as the seer of this place must not be able to tell it from another.
pub async fn tell(world: &mut World, seed: u64, seer: usize, number: u64) -> Told {
    let name = format!("family {seed} of {seer}");
    let home = world
        .found(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()), &ROLES)
        .await;
    world.project().await;
    let seed = seed * 16 + seer as u64;
    let mut shared = StdRng::seed_from_u64(seed);
    let hidden: Vec<usize> = match seer {
        1 | 6 => vec![2, 3, 4, 5, DOLLARS],
        2 => vec![1, 2, 3, 8, DOLLARS],
        3 => vec![1, 2, 3, 4, 5, 7, 8, DOLLARS],
        _ => vec![1, 2, 3, 4, 5, 6, 8, DOLLARS],
    };
    // A family's account is opened to the young in every other family.
    let is_young = ROLES[seer].is_young();
    let opened = is_young && shared.random_bool(0.5);
    let hidden: Vec<usize> = if is_young && !opened {
        [vec![0], hidden].concat()
    } else {
        hidden
    };
    let founder = home.people[FOUNDER];
    let categories = world.get(founder.user, &home.path("categories")).await.json();
    let of_kind = |kind: &str| -> Vec<String> {
        let all = categories["categories"].as_array().unwrap().iter();
        let of_kind = all.filter(|category| category["kind"] == kind);
        of_kind
            .map(|category| category["category_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (expense, income) = (of_kind("expense"), of_kind("income"));
    let asker = home.people[ACCOUNTS[SIBLINGS].2.unwrap()];
    let mut teller = Teller {
        told: Told {
            seer: home.people[seer],
            founder,
            home,
            accounts: Vec::new(),
            categories: expense[..4].iter().chain(&income[..2]).cloned().collect(),
            hidden,
            entries: Vec::new(),
            booked: Vec::new(),
            imports: Vec::new(),
            files: Vec::new(),
            chores: Vec::new(),
            requests: Vec::new(),
            asker,
            secrets: Vec::new(),
            events: 0,
        },
        world,
        expense: expense[..4].to_vec(),
        income: income[..2].to_vec(),
        shared,
        secret: StdRng::seed_from_u64(seed ^ (number << 32)),
        steps: 0,
        plain: Vec::new(),
        split: Vec::new(),
        moved: Vec::new(),
        fed: Vec::new(),
        read_up_to: 0,
        levels: vec!["full"; ACCOUNTS.len()],
    };
    teller.furnish(opened).await;
    let hides_after = teller.shared.random_range(0..STEPS / 2);
    for step in 0..STEPS {
        teller.steps = step;
        if step == hides_after {
            teller.hide().await;
        }
        teller.step().await;
        if step % 12 == 7 {
            teller.ask_hidden().await;
        }
    }
    teller.told
}

impl Teller<'_> {
    /// Opens the accounts, those that are hidden under names and with sums that are.
    async fn furnish(&mut self, opened: bool) {
        for (number, (name, kind, owner)) in ACCOUNTS.iter().enumerate() {
            let is_hidden = self.told.hidden.contains(&number);
            let (name, mut opening, day) = if is_hidden {
                let name = format!("{} {name}", self.word());
                (name, self.secret_money(200_000, 900_000), self.secret_day())
            } else {
                ((*name).to_owned(), eur(500_000), "2026-08-01".to_owned())
            };
            let owner = owner.map(|owner| self.told.home.people[owner].member);
            let currency = if number == DOLLARS { "USD" } else { "EUR" };
            opening["currency"] = json!(currency);
            let body = json!({
                "name": name, "kind": kind, "currency": currency, "owner": owner, "opening_balance": opening, "effective_on": day,
            });
            let receipt = self.accepted(FOUNDER, "open-account", &body).await;
            self.told
                .accounts
                .push(receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned());
            let opening = receipt["events"]
                .as_array()
                .unwrap()
                .iter()
                .find(|e| e["type"] == "OpeningBalanceRecorded");
            self.told
                .entries
                .push(opening.unwrap()["aggregate_id"].as_str().unwrap().to_owned());
        }
        if opened {
            let level = *["view", "annotate", "full"].choose(&mut self.shared).unwrap();
            let body = json!({"account_id": self.told.accounts[0], "member_id": self.told.seer.member, "level": level});
            self.accepted(FOUNDER, "share-account", &body).await;
        }
        for number in [2, 3] {
            let institution = format!("Bank of {}", self.word());
            let body = json!({"account_id": self.told.accounts[number], "institution": institution});
            self.accepted(FOUNDER, "connect-bank", &body).await;
            self.fed.push((number, Vec::new()));
        }
    }

    /// What the role alone does not hide is hidden by who may.
    async fn hide(&mut self) {
        if !self.told.seer.role.is_young() {
            for number in self.told.hidden.clone() {
                let by = match ACCOUNTS[number].2 {
                    Some(owner) if owner < 3 => owner,
                    _ => FOUNDER,
                };
                let body = json!({"account_id": self.told.accounts[number], "member_id": self.told.seer.member, "level": "none"});
                self.accepted(by, "share-account", &body).await;
            }
        }
    }

    async fn step(&mut self) {
        match self.shared.random_range(0..100) {
            0..16 => self.spend_hidden().await,
            16..22 => self.earn_hidden().await,
            22..27 => self.move_hidden().await,
            27..37 => self.move_across().await,
            37..50 => self.spend_seen().await,
            50..58 => self.undo_hidden().await,
            58..65 => self.recategorise_hidden().await,
            65..70 => self.budget().await,
            70..79 => self.chore().await,
            79..88 => self.statement().await,
            88..91 => self.undo_import().await,
            91..94 => self.badge().await,
            94..97 => self.mark_read().await,
            _ => self.share_hidden().await,
        }
    }

    async fn spend_hidden(&mut self) {
        let of_wallets = self.shared.random_bool(0.4);
        let account = self.hidden_of(of_wallets);
        let is_split = self.shared.random_bool(0.3);
        let (payee, note) = (self.word(), self.word());
        let category = self.expense.choose(&mut self.secret).unwrap().clone();
        let mut body = json!({"account_id": self.told.accounts[account], "payee": payee, "note": note, "effective_on": self.secret_day()});
        if is_split {
            let (one, other) = (self.secret.random_range(1..900), self.secret.random_range(1..900));
            let second = self.expense.choose(&mut self.secret).unwrap();
            body["money"] = eur(one + other);
            body["splits"] =
                json!([{"category_id": category, "money": eur(one)}, {"category_id": second, "money": eur(other)}]);
        } else {
            body["money"] = self.secret_money(1, 2_000);
            body["category_id"] = json!(category);
        }
        // The young spend from their own, and the grown-ups are told; who has a limit does so in `ask_hidden`.
        let owner = ACCOUNTS[account].2.filter(|owner| *owner >= 3 && account != SIBLINGS);
        let by = owner.filter(|_| self.secret.random_bool(0.5)).unwrap_or(FOUNDER);
        let entry = self.recorded(by, "add-expense", &body).await;
        let hidden = Hidden {
            entry,
            category: (!is_split).then_some(category),
        };
        match (of_wallets && self.has_hidden_wallets(), is_split) {
            (false, false) => self.plain.push(hidden),
            (false, true) => self.split.push(hidden),
            _ => {}
        }
    }

    /// From the pocket that is hidden its owner spends within a limit, and asks for more; somebody decides, or nobody.
    async fn ask_hidden(&mut self) {
        if !self.told.hidden.contains(&SIBLINGS) {
            return;
        }
        let sibling = ACCOUNTS[SIBLINGS].2.unwrap();
        let asker = self.told.asker.member;
        if self.told.requests.is_empty() {
            // The limit itself is for every adult to see.
            let month = if self.told.seer.role.is_young() {
                self.secret_money(900_000, 990_000)
            } else {
                eur(950_000)
            };
            let limit = json!({"member_id": asker, "per_entry": eur(500), "per_month": month});
            self.accepted(FOUNDER, "set-spending-limit", &limit).await;
        }
        let mut body = json!({"account_id": self.told.accounts[SIBLINGS], "payee": self.word(), "note": self.word()});
        body["category_id"] = json!(self.expense.choose(&mut self.secret).unwrap());
        body["money"] = self.secret_money(1, 500);
        self.recorded(sibling, "add-expense", &body).await;
        body["money"] = self.secret_money(501, 900);
        let receipt = self.accepted(sibling, "request-spending", &body).await;
        let events = receipt["events"].as_array().unwrap();
        let request = events[0]["payload"]["request_id"].as_str().unwrap().to_owned();
        self.told.requests.push(request.clone());
        let mut decision = json!({"member_id": asker, "request_id": request});
        match self.shared.random_range(0..4) {
            0 => drop(self.accepted(FOUNDER, "approve-spending", &decision).await),
            1 => {
                decision["reason"] = json!(self.word());
                self.accepted(FOUNDER, "decline-spending", &decision).await;
            }
            2 => drop(
                self.accepted(sibling, "cancel-spending-request", &json!({"request_id": request}))
                    .await,
            ),
            _ => {}
        }
    }

    async fn earn_hidden(&mut self) {
        let account = self.hidden_of(false);
        let body = json!({
            "account_id": self.told.accounts[account], "money": self.secret_money(1_000, 400_000),
            "category_id": self.income.choose(&mut self.secret).unwrap(), "payee": self.word(), "effective_on": self.secret_day(),
        });
        self.recorded(FOUNDER, "add-income", &body).await;
    }

    async fn move_hidden(&mut self) {
        let from = self.hidden_of(false);
        let to = loop {
            let to = self.hidden_of(false);
            if to != from {
                break to;
            }
        };
        let body = json!({
            "from": self.told.accounts[from], "to": self.told.accounts[to], "money": self.secret_money(1, 3_000),
            "note": self.word(), "effective_on": self.secret_day(),
        });
        let entry = self.recorded(FOUNDER, "transfer", &body).await;
        self.moved.push(Hidden { entry, category: None });
    }

    /// One side is seen, and the other is one or another of those that are not: whether it was an exchange, and at which rate, is
    /// hidden with it.
    async fn move_across(&mut self) {
        let seen = self.seen();
        let is_exchange = self.secret.random_bool(0.4);
        let hidden = if is_exchange { DOLLARS } else { self.hidden_of(false) };
        let is_from_hidden = self.shared.random_bool(0.6);
        let (from, to) = if is_from_hidden { (hidden, seen) } else { (seen, hidden) };
        let money = eur(self.shared.random_range(1..500));
        let mut body = json!({
            "from": self.told.accounts[from], "to": self.told.accounts[to], "money": money,
            "note": self.plain_word(), "effective_on": self.shared_day(),
        });
        if is_exchange {
            let mut dollars = self.secret_money(1, 900);
            dollars["currency"] = json!("USD");
            body["received"] = dollars;
            if is_from_hidden {
                (body["money"], body["received"]) = (body["received"].take(), money);
            }
        }
        self.recorded(FOUNDER, "transfer", &body).await;
    }

    async fn spend_seen(&mut self) {
        let account = self.seen();
        let body = json!({
            "account_id": self.told.accounts[account], "money": eur(self.shared.random_range(1..2_000)),
            "category_id": self.expense.choose(&mut self.shared).unwrap(), "payee": self.plain_word(), "effective_on": self.shared_day(),
        });
        let own = ACCOUNTS[account]
            .2
            .is_some_and(|owner| self.told.home.people[owner] == self.told.seer);
        let by = if own { ACCOUNTS[account].2.unwrap() } else { FOUNDER };
        self.recorded(by, "add-expense", &body).await;
    }

    async fn undo_hidden(&mut self) {
        let reason = self.word();
        let pile = self.shared.random_range(0..3);
        let pile = [&mut self.plain, &mut self.split, &mut self.moved]
            .into_iter()
            .nth(pile)
            .unwrap();
        if pile.is_empty() {
            return;
        }
        let hidden = pile.swap_remove(self.secret.random_range(0..pile.len()));
        let body = json!({"entry_id": hidden.entry, "reason": reason});
        self.accepted(FOUNDER, "reverse-entry", &body).await;
    }

    async fn recategorise_hidden(&mut self) {
        if self.plain.is_empty() {
            return;
        }
        let index = self.secret.random_range(0..self.plain.len());
        let now = self.plain[index].category.clone();
        let others: Vec<String> = self
            .expense
            .iter()
            .filter(|other| Some(*other) != now.as_ref())
            .cloned()
            .collect();
        let to = others.choose(&mut self.secret).unwrap().clone();
        let body = json!({"entry_id": self.plain[index].entry, "to": to});
        self.accepted(FOUNDER, "recategorise-entry", &body).await;
        self.plain[index].category = Some(to);
    }

    async fn budget(&mut self) {
        let body = json!({
            "category_id": self.expense.choose(&mut self.shared).unwrap(), "amount": eur(self.shared.random_range(1..90_000)),
            "period": (["week", "month"].choose(&mut self.shared).unwrap()), "effective_on": self.shared_day(),
        });
        self.accepted(FOUNDER, "set-budget", &body).await;
    }

    /// A chore is paid from an account that is not seen. One that is for another of the young is not seen either, by the young.
    async fn chore(&mut self) {
        let doer = self.shared.random_range(3..6);
        let is_secret = self.told.seer.role.is_young() && self.told.home.people[doer] != self.told.seer;
        let pay_from = self.hidden_of(false);
        let (title, money) = if is_secret {
            (self.word(), self.secret_money(1, 900))
        } else {
            (self.plain_word(), eur(self.shared.random_range(1..900)))
        };
        let person = self.told.home.people[doer];
        let body = json!({
            "title": title, "points": self.shared.random_range(1..40), "offered_to": person.member,
            "reward": {"money": money, "pay_from": self.told.accounts[pay_from]},
        });
        let chore = self.recorded_as(FOUNDER, "offer-chore", &body).await;
        self.told.chores.push(chore.clone());
        let body = json!({"chore_id": chore});
        let far = self.shared.random_range(0..4);
        for (by, name) in [
            (doer, "claim-chore"),
            (doer, "complete-chore"),
            (FOUNDER, "approve-chore"),
        ]
        .into_iter()
        .take(far)
        {
            self.accepted(by, name, &body).await;
        }
    }

    async fn statement(&mut self) {
        let index = self.shared.random_range(0..self.fed.len());
        let account = self.fed[index].0;
        let day = NaiveDate::from_ymd_opt(2026, 8, 2).unwrap() + Days::new(2 * self.steps as u64);
        let is_file = self.shared.random_bool(0.5);
        let mut rows = Vec::new();
        let mut file = "Date,Payee,Memo,Amount\n".to_owned();
        for _ in 0..self.shared.random_range(1..4) {
            let sign = if self.shared.random_bool(0.7) { -1 } else { 1 };
            let amount = sign * self.secret.random_range(1..5_000);
            let (payee, memo) = (self.word(), self.word());
            file += &format!("{day},{payee},{memo},{}\n", eur(amount)["amount"].as_str().unwrap());
            rows.push(json!({
                "booked_on": day, "amount": eur(amount), "counterparty": payee, "remittance": memo,
            }));
        }
        if is_file {
            self.upload(index, file).await;
            return;
        }
        let account_id: domain::id::AccountId = self.told.accounts[account].parse().unwrap();
        let body = json!({
            "connection_id": domain::id::ConnectionId::of_account(account_id), "source": "csv",
            "statement": {"currency": "EUR", "rows": rows},
        });
        let receipt = self.accepted(FOUNDER, "sync-bank", &body).await;
        let events = receipt["events"].as_array().unwrap();
        let import = events
            .iter()
            .find(|event| event["type"] == "StatementImported")
            .unwrap();
        let import = import["aggregate_id"].as_str().unwrap().to_owned();
        let booked = events.iter().filter(|event| event["type"] == "BankTransactionBooked");
        self.told
            .booked
            .extend(booked.map(|event| event["aggregate_id"].as_str().unwrap().to_owned()));
        self.told.imports.push(import.clone());
        self.fed[index].1.push(import);
    }

    async fn upload(&mut self, index: usize, file: String) {
        let (founder, account) = (self.told.founder.user, self.told.accounts[self.fed[index].0].clone());
        let answer = self.world.upload(&mut self.told.home, founder, &account, &file).await;
        assert_eq!(answer.status, axum::http::StatusCode::OK, "{answer}");
        let report = answer.json();
        let import = report["import_id"].as_str().unwrap().to_owned();
        self.told.events = report["family_seq"].as_i64().unwrap();
        self.told.files.push(file);
        self.told.imports.push(import.clone());
        self.fed[index].1.push(import);
    }

    async fn undo_import(&mut self) {
        let index = self.shared.random_range(0..self.fed.len());
        if let Some(import) = self.fed[index].1.pop() {
            self.accepted(FOUNDER, "undo-import", &json!({"import_id": import}))
                .await;
        }
    }

    async fn badge(&mut self) {
        let person = self.shared.random_range(3..6);
        let body = json!({
            "member_id": self.told.home.people[person].member, "badge": format!("{} {}", self.plain_word(), self.steps),
            "points": self.shared.random_range(0..20),
        });
        self.accepted(FOUNDER, "award-badge", &body).await;
    }

    /// How far another has read is theirs.
    async fn mark_read(&mut self) {
        // Twice in a row there is nothing new to read.
        if self.read_up_to + 1 >= self.told.events {
            return;
        }
        let up_to = self.secret.random_range(self.read_up_to + 1..self.told.events);
        self.read_up_to = self.told.events;
        let body = json!({"up_to_family_seq": up_to});
        self.world
            .command(
                &mut self.told.home,
                self.told.founder.user,
                "mark-notifications-read",
                &body,
            )
            .await;
        let body = json!({"up_to_family_seq": self.told.events / 2});
        self.world
            .command(
                &mut self.told.home,
                self.told.seer.user,
                "mark-notifications-read",
                &body,
            )
            .await;
    }

    /// How a hidden account is shared with somebody else is hidden with it.
    async fn share_hidden(&mut self) {
        let other = if self.told.seer.role == Role::Partner { 1 } else { 2 };
        let levels: Vec<&str> = ["view", "annotate", "full"]
            .into_iter()
            .filter(|level| *level != self.levels[2])
            .collect();
        let level = *levels.choose(&mut self.secret).unwrap();
        self.levels[2] = level;
        let body = json!({"account_id": self.told.accounts[2], "member_id": self.told.home.people[other].member, "level": level});
        self.accepted(FOUNDER, "share-account", &body).await;
    }

    fn has_hidden_wallets(&self) -> bool {
        self.told.hidden.iter().any(|number| is_wallet(*number))
    }

    /// One of the hidden accounts of a kind in the family's currency, by a chance that is hidden too; where no wallets are hidden, another account.
    fn hidden_of(&mut self, wallets: bool) -> usize {
        let wallets = wallets && self.has_hidden_wallets();
        let of_kind: Vec<usize> = self
            .told
            .hidden
            .iter()
            .copied()
            .filter(|number| is_wallet(*number) == wallets && *number != DOLLARS)
            .collect();
        *of_kind.choose(&mut self.secret).unwrap()
    }

    /// One of the accounts that the seer sees.
    fn seen(&mut self) -> usize {
        let seen: Vec<usize> = (0..ACCOUNTS.len())
            .filter(|number| !self.told.hidden.contains(number))
            .collect();
        *seen.choose(&mut self.shared).unwrap()
    }

    async fn recorded(&mut self, by: usize, name: &str, body: &Value) -> String {
        let entry = self.recorded_as(by, name, body).await;
        self.told.entries.push(entry.clone());
        entry
    }

    async fn recorded_as(&mut self, by: usize, name: &str, body: &Value) -> String {
        let receipt = self.accepted(by, name, body).await;
        receipt["events"][0]["aggregate_id"].as_str().unwrap().to_owned()
    }

    async fn accepted(&mut self, by: usize, name: &str, body: &Value) -> Value {
        let user: UserId = self.told.home.people[by].user;
        let receipt = self.world.accepted(&mut self.told.home, user, name, body).await;
        self.told.events = receipt["family_seq"].as_i64().unwrap();
        receipt
    }

    /// A word that nothing else has.
    fn word(&mut self) -> String {
        let word: String = (0..10).map(|_| self.secret.random_range('a'..='z')).collect();
        self.told.secrets.push(word.clone());
        word
    }

    fn plain_word(&mut self) -> String {
        (*["Bakery", "Cinema", "Harbour", "Library", "Orchard"]
            .choose(&mut self.shared)
            .unwrap())
        .to_owned()
    }

    fn secret_money(&mut self, least: i64, most: i64) -> Value {
        eur(self.secret.random_range(least..most))
    }

    fn secret_day(&mut self) -> String {
        day(&mut self.secret)
    }

    fn shared_day(&mut self) -> String {
        day(&mut self.shared)
    }
}

fn is_wallet(number: usize) -> bool {
    ACCOUNTS[number].1 == "wallet"
}

fn day(random: &mut StdRng) -> String {
    let first = NaiveDate::from_ymd_opt(2026, 8, 1).unwrap();
    (first + Days::new(random.random_range(0..110))).to_string()
}

pub fn eur(cents: i64) -> Value {
    json!({"amount": rust_decimal::Decimal::new(cents, 2).to_string(), "currency": "EUR"})
}
