//! What families ask for: real commands, some of which the rules, a claim or the database must refuse.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Money,
    actor::{Meta, Role},
    category::{CategoryKind, commands::AddCategory},
    commands::AnyCommand,
    decide::{Context, Streams},
    entry::commands::{AddExpense, AddIncome, ReverseEntry, Transfer},
    family::commands::{AddMember, CreateFamily},
    id::{AccountId, CategoryId, CommandId, EntryId, FamilyId, MemberId, UserId},
    ledger_account::{AccountKind, commands::OpenAccount},
};

use crate::{
    chance::Chance,
    log::{REFUSED_BY_DATABASE, SimLog},
    views::UNFOLDABLE,
};

/// A command somebody asks for; sent again as often as it takes.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) family_id: FamilyId,
    pub(crate) command_id: CommandId,
    pub(crate) user_id: UserId,
    pub(crate) command: Arc<dyn AnyCommand>,
    pub(crate) if_match: Option<i64>,
    pub(crate) traceparent: String,
    /// The household whose founding this is part of, and which part.
    pub(crate) sets_up: Option<(usize, usize)>,
    /// Its key belongs to a command accepted before.
    pub(crate) reuses_key: bool,
}

impl Order {
    pub(crate) fn meta(&self, at: DateTime<Utc>) -> Meta {
        Meta {
            family_id: self.family_id,
            command_id: self.command_id,
            user_id: self.user_id,
            at,
        }
    }

    /// Must the database refuse it?
    pub(crate) fn is_refused_by_database(&self) -> bool {
        self.traceparent == REFUSED_BY_DATABASE
    }
}

/// One family, with a wallet that never goes below zero.
pub(crate) struct Household {
    pub(crate) family_id: FamilyId,
    parent: UserId,
    stranger: UserId,
    /// Keys of the commands that found it.
    keys: [CommandId; 5],
    /// How many of them are accepted.
    pub(crate) set_up: usize,
    /// Is one of them on its way?
    pub(crate) is_setting_up: bool,
    /// Commands that made entries, for reversals.
    entries: Vec<CommandId>,
    /// May it ask for what no projection can fold?
    pub(crate) is_poisonous: bool,
}

impl Household {
    pub(crate) fn new(chance: &mut Chance, is_poisonous: bool) -> Self {
        Self {
            family_id: FamilyId::from_uuid(chance.uuid()),
            parent: UserId::from_uuid(chance.uuid()),
            stranger: UserId::from_uuid(chance.uuid()),
            keys: std::array::from_fn(|_| CommandId::from_uuid(chance.uuid())),
            set_up: 0,
            is_setting_up: false,
            entries: Vec::new(),
            is_poisonous,
        }
    }

    /// Goes on where the log is.
    pub(crate) fn resume(&mut self, log: &SimLog) {
        let is_known = |key: &&CommandId| log.commands().contains_key(&(self.family_id, **key));
        self.set_up = self.keys.iter().take_while(is_known).count();
        self.is_setting_up = false;
        self.entries.clear();
    }

    /// The id that a command of this family makes.
    fn id(&self, command_id: CommandId) -> uuid::Uuid {
        let meta = Meta {
            family_id: self.family_id,
            command_id,
            user_id: self.parent,
            at: DateTime::<Utc>::UNIX_EPOCH,
        };
        Context::new(&Streams::default(), &meta, 0).new_id(0)
    }

    fn founder(&self) -> MemberId {
        MemberId::from_uuid(self.id(self.keys[0]))
    }

    fn wallet(&self) -> AccountId {
        AccountId::from_uuid(self.id(self.keys[1]))
    }

    fn bank(&self) -> AccountId {
        AccountId::from_uuid(self.id(self.keys[2]))
    }

    fn category(&self, kind: CategoryKind) -> CategoryId {
        CategoryId::of_name(self.family_id, kind, name_of(kind))
    }

    fn order(&self, command_id: CommandId, command: impl AnyCommand + 'static) -> Order {
        Order {
            family_id: self.family_id,
            command_id,
            user_id: self.parent,
            command: Arc::new(command),
            if_match: None,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            sets_up: None,
            reuses_key: false,
        }
    }

    /// The next command that founds the family.
    pub(crate) fn founding(&self, number: usize) -> Option<Order> {
        let account = |name: &str, kind, owner| OpenAccount {
            name: name.to_owned(),
            kind,
            currency: None,
            owner,
            opening_balance: None,
            effective_on: None,
        };
        let category = |kind| AddCategory {
            name: name_of(kind).to_owned(),
            kind,
        };
        let key = *self.keys.get(self.set_up)?;
        let mut order = match self.set_up {
            0 => self.order(
                key,
                CreateFamily {
                    name: "Lovelace".to_owned(),
                    currency: "EUR".parse().expect("a code"),
                    zone: "UTC".to_owned(),
                    week_start: Default::default(),
                    display_name: None,
                    country: Some("DE".to_owned()),
                    with_categories: false,
                },
            ),
            1 => self.order(key, account("Pocket", AccountKind::Wallet, Some(self.founder()))),
            2 => self.order(key, account("Bank", AccountKind::Bank, None)),
            3 => self.order(key, category(CategoryKind::Expense)),
            _ => self.order(key, category(CategoryKind::Income)),
        };
        order.sets_up = Some((number, self.set_up));
        Some(order)
    }

    /// Something a family asks for on a day like any other.
    pub(crate) fn daily(&mut self, chance: &mut Chance, head: i64) -> Order {
        let key = CommandId::from_uuid(chance.uuid());
        let small = euros(chance.between(1, 2_000));
        let mut order = match chance.below(16) {
            0..=5 => self.expense(key, small, ""),
            6..=7 => self.order(
                key,
                AddIncome {
                    account_id: self.wallet(),
                    money: small,
                    category_id: Some(self.category(CategoryKind::Income)),
                    splits: Vec::new(),
                    effective_on: None,
                    payee: String::new(),
                    note: String::new(),
                },
            ),
            8..=9 => self.order(
                key,
                Transfer {
                    from: self.bank(),
                    to: self.wallet(),
                    money: small,
                    received: None,
                    effective_on: None,
                    note: String::new(),
                },
            ),
            10..=11 => self.order(
                key,
                // Few names, so that claims meet.
                OpenAccount {
                    name: format!("Account {}", chance.below(12)),
                    kind: AccountKind::Cash,
                    currency: None,
                    owner: None,
                    opening_balance: None,
                    effective_on: None,
                },
            ),
            12 => self.order(
                key,
                AddCategory {
                    name: format!("Category {}", chance.below(12)),
                    kind: CategoryKind::Expense,
                },
            ),
            13 => self.order(
                key,
                AddMember {
                    display_name: "Teen".to_owned(),
                    role: Role::Teen,
                    on_leaderboard: false,
                    until_on: None,
                    age_band: None,
                    consent: None,
                },
            ),
            14 if !self.entries.is_empty() => {
                let entry_id = EntryId::from_uuid(self.id(*chance.of(&self.entries)));
                self.order(
                    key,
                    ReverseEntry {
                        entry_id,
                        effective_on: None,
                        reason: String::new(),
                    },
                )
            }
            _ if self.is_poisonous && chance.per_mille(150) => self.expense(key, euros(1), UNFOLDABLE),
            _ => self.expense(key, small, ""),
        };
        if chance.per_mille(30) {
            order.if_match = Some(head);
        }
        if chance.per_mille(20) {
            order.traceparent = REFUSED_BY_DATABASE.to_owned();
        }
        if chance.per_mille(20) {
            order.user_id = self.stranger;
        }
        order
    }

    fn expense(&mut self, key: CommandId, money: Money, payee: &str) -> Order {
        self.entries.push(key);
        if self.entries.len() > 32 {
            self.entries.remove(0);
        }
        self.order(
            key,
            AddExpense {
                account_id: self.wallet(),
                money,
                category_id: Some(self.category(CategoryKind::Expense)),
                splits: Vec::new(),
                effective_on: None,
                payee: payee.to_owned(),
                note: String::new(),
            },
        )
    }

    /// Another request under a key that was used: of more than anybody asks for otherwise.
    pub(crate) fn reusing(&self, order: &Order) -> Order {
        let mut other = self.order(
            order.command_id,
            Transfer {
                from: self.bank(),
                to: self.wallet(),
                money: euros(99_999),
                received: None,
                effective_on: None,
                note: String::new(),
            },
        );
        other.reuses_key = true;
        other
    }
}

fn euros(cents: usize) -> Money {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    Money::parse(&text, "EUR".parse().expect("a code")).expect("an amount")
}

fn name_of(kind: CategoryKind) -> &'static str {
    match kind {
        CategoryKind::Expense => "Groceries",
        CategoryKind::Income => "Salary",
    }
}
