//! Ledgers nobody would keep, made from a number: odd names, four currencies, leap days, days before the opening, closed
//! accounts, exchanges, reversals and recategorisations. The same number always makes the same ledger.

use chrono::{Days, NaiveDate};
use domain::{
    Currency, Money,
    actor::Role,
    aggregate::LedgerEvent,
    calendar::WeekStart,
    category::{CategoryAdded, CategoryEvent, CategoryKind},
    entry::{
        BankTransactionBooked, EntryEvent, EntryRecategorised, EntryReversed, ExpenseAdded, IncomeAdded,
        OpeningBalanceRecorded, TransferMade,
    },
    family::{FamilyCreated, FamilyEvent, MemberAdded},
    id::{AccountId, CategoryId, EntryId, FamilyId, ImportId, MemberId},
    journal::{Equity, Posting, PostingAccount, reversed},
    ledger_account::{AccountClosed, AccountKind, AccountOpened, LedgerAccountEvent},
    stream::StreamId,
};
use rust_decimal::Decimal;
use uuid::Uuid;

/// One event with its stream and day.
pub type Fact = (StreamId, LedgerEvent, NaiveDate);

const ACCOUNTS: &[(&str, AccountKind, &str)] = &[
    ("Giro", AccountKind::Bank, "EUR"),
    ("giro", AccountKind::Bank, "EUR"),
    ("Giro 2", AccountKind::Bank, "EUR"),
    ("Käse & \"Öl\"; Konto: 1", AccountKind::Bank, "EUR"),
    ("日本の口座", AccountKind::Bank, "JPY"),
    ("🍕🍕", AccountKind::Cash, "USD"),
    ("حساب", AccountKind::Cash, "KWD"),
    ("2nd card  ; date:2020-99-99", AccountKind::Card, "EUR"),
    ("-", AccountKind::Card, "USD"),
    ("Tim's pocket, type:Z", AccountKind::Wallet, "EUR"),
];

const CATEGORIES: &[(&str, CategoryKind)] = &[
    ("Food:Groceries", CategoryKind::Expense),
    ("Food Groceries", CategoryKind::Expense),
    ("ёлка", CategoryKind::Expense),
    ("\\n\" [2024-01-01]", CategoryKind::Expense),
    ("Opening Balances", CategoryKind::Expense),
    ("Salary", CategoryKind::Income),
    ("利息", CategoryKind::Income),
];

const WORDS: &[&str] = &[
    "",
    "Bakery",
    "Müller & Söhne \"Bäck\" GmbH",
    "(code) first",
    "! not a status",
    "; a comment?  account  12 EUR",
    "line\nbreak\r\nand\ttab",
    "pipe | in | it",
    "date:2024-99-99, type:X, [2024-13-01]",
    "emoji 👩‍👩‍👧 and \u{202F}spaces\u{2028}lines",
    "back\\slash \\\" end\\",
    "= 5 EUR @@ 3 USD {}",
    "2024-01-01 * fake",
];

/// A generator of numbers: splitmix64. Good enough to shuffle with, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, not including, `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("an index")
    }

    fn word(&mut self) -> String {
        (*self.pick(WORDS)).to_owned()
    }

    fn day(&mut self) -> NaiveDate {
        let leap_day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
        let first = NaiveDate::from_ymd_opt(1999, 12, 31).expect("a day");
        if self.below(10) == 0 {
            leap_day
        } else {
            first + Days::new(self.below(9_800))
        }
    }

    fn money(&mut self, currency: Currency) -> Money {
        let largest = 10_u64.pow(1 + u32::try_from(self.below(9)).expect("small"));
        let units = i64::try_from(1 + self.below(largest)).expect("small");
        Money::try_new(Decimal::new(units, currency.scale()), currency).expect("an amount")
    }
}

struct Ledger {
    family: FamilyId,
    dice: Dice,
    facts: Vec<Fact>,
    accounts: Vec<(AccountId, Currency, bool)>,
    in_force: Vec<(EntryId, Vec<Posting>)>,
    entries: u64,
}

/// The history of a family with `entries` steps.
pub fn random_ledger(family: FamilyId, seed: u64, entries: usize) -> Vec<Fact> {
    let mut ledger = Ledger {
        family,
        dice: Dice::new(seed),
        facts: Vec::new(),
        accounts: Vec::new(),
        in_force: Vec::new(),
        entries: 0,
    };
    ledger.found();
    for _ in 0..entries {
        ledger.step();
    }
    ledger.facts
}

fn currency(code: &str) -> Currency {
    code.parse().expect("a code")
}

impl Ledger {
    fn id(&self, name: &str) -> Uuid {
        Uuid::new_v5(&self.family.uuid(), name.as_bytes())
    }

    fn fact(&mut self, kind: &'static str, id: Uuid, event: impl Into<LedgerEvent>, day: NaiveDate) {
        self.facts.push((StreamId { kind, id }, event.into(), day));
    }

    fn category(&self, index: usize) -> CategoryId {
        CategoryId::from_uuid(self.id(&format!("category {index}")))
    }

    fn found(&mut self) {
        let opened_on = NaiveDate::from_ymd_opt(2020, 2, 29).expect("a day");
        let created = FamilyCreated {
            family_id: self.family,
            name: "The \"Odd\" family; \\ 🍕".to_owned(),
            currency: currency("EUR"),
            zone: "Europe/Berlin".to_owned(),
            week_start: WeekStart::Monday,
        };
        self.fact("family", self.family.uuid(), FamilyEvent::from(created), opened_on);
        let member_id = MemberId::from_uuid(self.id("member"));
        let (display_name, role) = ("Tim".to_owned(), Role::Child);
        let member = MemberAdded {
            member_id,
            display_name,
            role,
            on_leaderboard: true,
        };
        self.fact("family", self.family.uuid(), FamilyEvent::from(member), opened_on);
        for (index, (name, kind)) in CATEGORIES.iter().enumerate() {
            let category_id = self.category(index);
            let added = CategoryAdded {
                category_id,
                name: (*name).to_owned(),
                kind: *kind,
            };
            self.fact("category", category_id.uuid(), CategoryEvent::from(added), opened_on);
        }
        for (index, (name, kind, code)) in ACCOUNTS.iter().enumerate() {
            let account_id = AccountId::from_uuid(self.id(&format!("account {index}")));
            let owner = (*kind == AccountKind::Wallet).then_some(member_id);
            let (name, kind, currency) = ((*name).to_owned(), *kind, currency(code));
            let opened = AccountOpened {
                account_id,
                name,
                kind,
                currency,
                owner,
                opening_balance: None,
            };
            self.fact(
                "ledger-account",
                account_id.uuid(),
                LedgerAccountEvent::from(opened),
                opened_on,
            );
            self.accounts.push((account_id, currency, true));
        }
    }

    fn account(&mut self) -> (AccountId, Currency) {
        let open: Vec<_> = self
            .accounts
            .iter()
            .filter(|(_, _, is_open)| *is_open)
            .map(|(id, c, _)| (*id, *c))
            .collect();
        *self.dice.pick(&open)
    }

    fn entry_id(&mut self) -> EntryId {
        self.entries += 1;
        EntryId::from_uuid(self.id(&format!("entry {}", self.entries)))
    }

    fn add(&mut self, entry_id: EntryId, event: impl Into<EntryEvent>, day: NaiveDate) {
        let event = event.into();
        if !matches!(event, EntryEvent::EntryReversed(_) | EntryEvent::EntryRecategorised(_)) {
            self.in_force.push((entry_id, event.postings().to_vec()));
        }
        self.fact("entry", entry_id.uuid(), event, day);
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..=5 => self.expense(),
            6..=8 => self.income(),
            9..=10 => self.transfer(),
            11..=12 => self.exchange(),
            13 => self.opening(),
            14..=15 => self.bank_row(),
            16 => self.close(),
            17 => self.reverse(),
            _ => self.recategorise(),
        }
    }

    fn expense(&mut self) {
        let (entry_id, effective_on) = (self.entry_id(), self.dice.day());
        let (account, currency) = self.account();
        let money = self.dice.money(currency);
        let mut postings = vec![Posting::account(account, money.negated())];
        for part in money.split(1 + u32::try_from(self.dice.below(3)).expect("small")) {
            let index = self.dice.index(5);
            postings.push(Posting::category(self.category(index), part));
        }
        let (payee, note) = (self.dice.word(), self.dice.word());
        self.add(
            entry_id,
            ExpenseAdded {
                entry_id,
                effective_on,
                postings,
                payee,
                note,
                entered_by: None,
            },
            effective_on,
        );
    }

    fn income(&mut self) {
        let (entry_id, effective_on) = (self.entry_id(), self.dice.day());
        let (account, currency) = self.account();
        let money = self.dice.money(currency);
        let index = 5 + self.dice.index(2);
        let category = self.category(index);
        let postings = vec![
            Posting::account(account, money),
            Posting::category(category, money.negated()),
        ];
        let (payee, note) = (self.dice.word(), self.dice.word());
        self.add(
            entry_id,
            IncomeAdded {
                entry_id,
                effective_on,
                postings,
                payee,
                note,
                entered_by: None,
            },
            effective_on,
        );
    }

    fn transfer(&mut self) {
        let (entry_id, effective_on) = (self.entry_id(), self.dice.day());
        let (from, currency) = self.account();
        let money = self.dice.money(currency);
        let (to, other) = self.account();
        let arrives = if other == currency {
            Posting::account(to, money)
        } else {
            Posting::equity(Equity::TransfersInTransit, money)
        };
        let postings = vec![Posting::account(from, money.negated()), arrives];
        let note = self.dice.word();
        let event = TransferMade {
            entry_id,
            effective_on,
            postings,
            note,
            entered_by: None,
            chore_id: None,
            earned_by: None,
        };
        self.add(entry_id, event, effective_on);
    }

    fn exchange(&mut self) {
        let (entry_id, effective_on) = (self.entry_id(), self.dice.day());
        let ((from, sold), (to, bought)) = (self.account(), self.account());
        let (sold, bought) = (self.dice.money(sold), self.dice.money(bought));
        let postings = vec![
            Posting::account(from, sold.negated()),
            Posting::equity(Equity::Conversion, sold),
            Posting::equity(Equity::Conversion, bought.negated()),
            Posting::account(to, bought),
        ];
        let note = self.dice.word();
        let event = TransferMade {
            entry_id,
            effective_on,
            postings,
            note,
            entered_by: None,
            chore_id: None,
            earned_by: None,
        };
        self.add(entry_id, event, effective_on);
    }

    fn opening(&mut self) {
        let (entry_id, effective_on) = (self.entry_id(), self.dice.day());
        let (account, currency) = self.account();
        let money = self.dice.money(currency);
        let against = Posting::equity(Equity::OpeningBalances, money.negated());
        let postings = vec![Posting::account(account, money), against];
        self.add(
            entry_id,
            OpeningBalanceRecorded {
                entry_id,
                effective_on,
                postings,
            },
            effective_on,
        );
    }

    fn bank_row(&mut self) {
        let (entry_id, booked_on) = (self.entry_id(), self.dice.day());
        let (account_id, currency) = self.account();
        let amount = self.dice.money(currency).negated();
        let category = self.category(0);
        let event = BankTransactionBooked {
            entry_id,
            account_id,
            owner: None,
            import_id: ImportId::from_uuid(self.id("import")),
            booked_on,
            value_on: None,
            amount,
            postings: vec![
                Posting::account(account_id, amount),
                Posting::category(category, amount.negated()),
            ],
            counterparty: self.dice.word(),
            remittance: self.dice.word(),
            reference: None,
        };
        self.add(entry_id, event, booked_on);
    }

    /// Closes an account now and then, but leaves enough of them; the day may be before entries that it already has.
    fn close(&mut self) {
        let open = self.accounts.iter().filter(|(_, _, is_open)| *is_open).count();
        if open <= 6 {
            return;
        }
        let (account_id, _) = self.account();
        for account in self.accounts.iter_mut().filter(|account| account.0 == account_id) {
            account.2 = false;
        }
        let day = self.dice.day();
        let event = LedgerAccountEvent::from(AccountClosed { account_id });
        self.fact("ledger-account", account_id.uuid(), event, day);
    }

    fn reverse(&mut self) {
        if self.in_force.is_empty() {
            return;
        }
        let index = self.dice.index(self.in_force.len());
        let (entry_id, postings) = self.in_force[index].clone();
        let touches_closed = postings.iter().any(|posting| {
            self.accounts
                .iter()
                .any(|(id, _, open)| !open && posting.ledger_account == PostingAccount::Account(*id))
        });
        if touches_closed {
            return;
        }
        self.in_force.remove(index);
        let (reason, day) = (self.dice.word(), self.dice.day());
        self.add(
            entry_id,
            EntryReversed {
                entry_id,
                postings: reversed(&postings),
                reason,
            },
            day,
        );
    }

    fn recategorise(&mut self) {
        if self.in_force.is_empty() {
            return;
        }
        let index = self.dice.index(self.in_force.len());
        let to = self.dice.index(5);
        let to = self.category(to);
        let day = self.dice.day();
        let (entry_id, postings) = &mut self.in_force[index];
        let entry_id = *entry_id;
        let spent = |p: &&mut Posting| matches!(p.ledger_account, PostingAccount::Category(_)) && p.money.is_positive();
        let Some(posting) = postings.iter_mut().find(spent) else {
            return;
        };
        let PostingAccount::Category(from) = posting.ledger_account else {
            return;
        };
        let moved = vec![
            Posting::category(from, posting.money.negated()),
            Posting::category(to, posting.money),
        ];
        posting.ledger_account = PostingAccount::Category(to);
        self.add(
            entry_id,
            EntryRecategorised {
                entry_id,
                from: PostingAccount::Category(from),
                to: PostingAccount::Category(to),
                postings: moved,
            },
            day,
        );
    }
}
