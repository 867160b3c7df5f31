//! One CSV file's records as rows, once it is decided how its dates and amounts are written.

use chrono::NaiveDate;
use domain::{Currency, Money, statement::BankTransaction};

use super::{
    super::{
        DecimalMark, Options, StatementError,
        text::{self, quote},
    },
    Draft, amounts,
    chain::Link,
    dates::{self, Order},
    headings::{Role, fold},
    table::{Record, Table},
};
use crate::banks::reading::{BrokenRow, StatementRefusal};

/// Words, folded, for a row that is not booked.
const PENDING: &[&str] = &[
    "pending",
    "vorgemerkt",
    "vorgemerkter umsatz",
    "offen",
    "en attente",
    "a venir",
    "pendiente",
    "in behandeling",
    "gereserveerd",
    "in attesa",
    "non contabilizzato",
    "oczekujaca",
    "oczekujace",
    "blokada",
    "reverted",
    "declined",
    "failed",
    "cancelled",
    "canceled",
];
/// Words, folded, for money out.
const OUT: &[&str] = &[
    "d",
    "db",
    "dbit",
    "dr",
    "debit",
    "debet",
    "af",
    "s",
    "soll",
    "belastung",
    "debito",
    "dare",
    "cargo",
    "out",
    "obciazenie",
];
/// Words, folded, for money in.
const IN: &[&str] = &[
    "c",
    "cr",
    "crdt",
    "credit",
    "bij",
    "h",
    "haben",
    "gutschrift",
    "credito",
    "avere",
    "abono",
    "in",
    "uznanie",
];

/// What was decided about a file.
pub(super) struct Reader<'a> {
    table: &'a Table,
    order: Order,
    mark: DecimalMark,
    /// The currency of rows that name none.
    pub(super) default_currency: Currency,
    /// The account that the lines above the headings name.
    preamble_account: String,
    /// Do the amounts carry signs of their own?
    is_signed: bool,
    /// Does the debit column count money out as negative already?
    is_debit_signed: bool,
    turns_sign: bool,
}

impl<'a> Reader<'a> {
    /// Decides, from the whole file and what was asked for.
    pub(super) fn of(table: &'a Table, options: &Options) -> Result<Self, StatementError> {
        let cells = |role: Role| {
            let column = table.columns.get(role);
            table
                .records
                .iter()
                .map(move |record| record.cell(column))
                .filter(|cell| !cell.is_empty())
        };
        let order = match &options.csv.date_format {
            Some(asked) => dates::asked(asked)?,
            None => dates::order(cells(Role::BookedOn).chain(cells(Role::ValueOn)))?,
        };
        let codes: Vec<Currency> = cells(Role::Currency)
            .filter_map(|code| code.to_uppercase().parse().ok())
            .collect();
        let beside = || {
            [Role::Amount, Role::Debit, Role::Credit]
                .into_iter()
                .flat_map(cells)
                .find_map(amounts::stated_currency)
        };
        let stated = codes.first().copied().or(table.columns.currency).or_else(beside);
        let default_currency = stated.or(options.currency);
        let default_currency = default_currency.ok_or(StatementRefusal::NoCurrency)?;
        let roles = [Role::Amount, Role::Debit, Role::Credit, Role::Balance, Role::Fee];
        let has_three_decimals = codes
            .iter()
            .chain([&default_currency])
            .any(|currency| currency.scale() == 3);
        let mark = match options.csv.decimal {
            Some(mark) => mark,
            None => amounts::mark(roles.into_iter().flat_map(cells), has_three_decimals)?,
        };
        let preamble_account = table
            .preamble
            .iter()
            .flat_map(Record::cells)
            .find_map(iban)
            .unwrap_or_default();
        Ok(Self {
            table,
            order,
            mark,
            default_currency,
            preamble_account,
            is_signed: cells(Role::Amount).any(amounts::is_negative),
            is_debit_signed: cells(Role::Debit).any(amounts::is_negative),
            turns_sign: options.csv.invert_sign,
        })
    }

    /// Is there a column of running balances?
    pub(super) fn has_balances(&self) -> bool {
        self.table.columns.get(Role::Balance).is_some()
    }

    fn cell<'r>(&self, record: &'r Record, role: Role) -> &'r str {
        record.cell(self.table.columns.get(role))
    }

    /// A column by its own heading, else by what it holds.
    fn field(&self, role: Role, otherwise: &str) -> String {
        let heading = self
            .table
            .headings
            .as_ref()
            .map_or("", |headings| headings.cell(self.table.columns.get(role)));
        text::clean_some(heading, 60).unwrap_or_else(|| otherwise.to_owned())
    }

    /// The family's own account, of the row or of the file.
    pub(super) fn bank_account(&self, record: &Record) -> String {
        let of_row = text::clean_some(self.cell(record, Role::BankAccount), text::BANK_ACCOUNT_CHARS_MAX);
        of_row.unwrap_or_else(|| self.preamble_account.clone())
    }

    /// The row's own currency, in its column or beside its amount; the file's when it has none.
    pub(super) fn currency(&self, record: &Record) -> Result<Currency, String> {
        match self.cell(record, Role::Currency) {
            "" => {
                let beside = self.amount_cells(record).find_map(amounts::stated_currency);
                Ok(beside.unwrap_or(self.default_currency))
            }
            code => code
                .to_uppercase()
                .parse()
                .map_err(|_| format!("'{}' is not a currency in use", quote(code))),
        }
    }

    /// Takes a record as a row, a broken row, a pending one or none.
    pub(super) fn take(&self, record: &Record, draft: &mut Draft) {
        if PENDING.contains(&fold(self.cell(record, Role::Status)).as_str()) {
            draft.found.pending += 1;
            return;
        }
        let (date_role, date_cell) = self.date_cell(record);
        if date_cell.is_empty() && self.amount_cells(record).all(str::is_empty) {
            let problem = "neither date nor amount; the line is no row and is left out";
            draft.found.remark(record.line, self.field(date_role, "date"), problem);
            return;
        }
        let booked_on = dates::read(date_cell, self.order);
        let amount = self.currency(record).and_then(|_| self.amount(record, draft.currency));
        let balance = self.balance(record, draft);
        draft.links.push(Link {
            line: record.line,
            amount: amount.clone().ok(),
            balance,
            booked_on,
        });
        match self.row(record, draft.currency, booked_on, amount) {
            Ok(row) => draft.rows.push(row),
            Err(broken) => draft.found.broken.push(broken),
        }
    }

    fn row(
        &self,
        record: &Record,
        currency: Currency,
        booked_on: Option<NaiveDate>,
        amount: Result<Money, String>,
    ) -> Result<BankTransaction, BrokenRow> {
        let broken = |field, problem, amount| BrokenRow {
            line: record.line,
            field,
            problem,
            amount,
        };
        let Some(booked_on) = booked_on else {
            let (role, cell) = self.date_cell(record);
            let problem = if cell.is_empty() {
                "there is no date".into()
            } else {
                format!("'{}' is not a date", quote(cell))
            };
            return Err(broken(self.field(role, "date"), problem, amount.ok()));
        };
        let amount = match (self.currency(record), amount) {
            (Err(problem), _) => return Err(broken(self.field(Role::Currency, "currency"), problem, None)),
            (Ok(_), Err(problem)) => return Err(broken(self.amount_field(record, currency), problem, None)),
            (Ok(_), Ok(amount)) => amount,
        };
        let debtor = self.cell(record, Role::Debtor);
        let is_from_debtor = amount.is_positive() && !debtor.is_empty();
        let counterparty = if is_from_debtor {
            debtor
        } else {
            self.cell(record, Role::Counterparty)
        };
        Ok(BankTransaction {
            booked_on,
            value_on: dates::read(self.cell(record, Role::ValueOn), self.order),
            amount,
            reference: text::clean_some(self.cell(record, Role::Reference), text::REFERENCE_CHARS_MAX),
            counterparty: text::clean(counterparty, text::COUNTERPARTY_CHARS_MAX),
            remittance: text::clean(self.cell(record, Role::Remittance), text::REMITTANCE_CHARS_MAX),
            category: text::clean_some(self.cell(record, Role::Category), text::CATEGORY_CHARS_MAX),
        })
    }

    /// The booking date, in a file without one the value date.
    fn date_cell<'r>(&self, record: &'r Record) -> (Role, &'r str) {
        let role = if self.table.columns.get(Role::BookedOn).is_some() {
            Role::BookedOn
        } else {
            Role::ValueOn
        };
        (role, self.cell(record, role))
    }

    fn amount_cells<'r>(&self, record: &'r Record) -> impl Iterator<Item = &'r str> {
        let columns = [Role::Amount, Role::Debit, Role::Credit].map(|role| self.table.columns.get(role));
        columns.into_iter().map(|column| record.cell(column))
    }

    /// The signed amount, from the amount and its direction, or from debit and credit, and without the fee.
    fn amount(&self, record: &Record, currency: Currency) -> Result<Money, String> {
        let read = |role: Role| match self.cell(record, role) {
            "" => Ok(None),
            cell => amounts::read(cell, self.mark, currency).map(Some),
        };
        let (debit, credit) = (read(Role::Debit)?, read(Role::Credit)?);
        let debit = debit.map(|debit| if self.is_debit_signed { debit } else { debit.negated() });
        let amount = match (read(Role::Amount)?, debit, credit) {
            (Some(amount), ..) => self.directed(record, amount)?,
            (None, Some(debit), Some(credit)) => credit.checked_add(&debit).map_err(|error| error.to_string())?,
            (None, Some(one), None) | (None, None, Some(one)) => one,
            (None, None, None) => return Err("there is no amount".into()),
        };
        let fee = read(Role::Fee)?.map(|fee| if fee.is_positive() { fee.negated() } else { fee });
        let amount = fee
            .map_or(Ok(amount), |fee| amount.checked_add(&fee))
            .map_err(|error| error.to_string())?;
        Ok(if self.turns_sign { amount.negated() } else { amount })
    }

    /// The amount with the sign of its direction, in a file whose amounts have none.
    fn directed(&self, record: &Record, amount: Money) -> Result<Money, String> {
        if self.is_signed || self.table.columns.get(Role::Direction).is_none() {
            return Ok(amount);
        }
        let cell = self.cell(record, Role::Direction);
        let word = fold(cell);
        match (cell, word.as_str()) {
            ("-", _) => Ok(amount.negated()),
            ("+", _) => Ok(amount),
            (_, word) if OUT.contains(&word) => Ok(amount.negated()),
            (_, word) if IN.contains(&word) => Ok(amount),
            _ => Err(format!("'{}' says neither debit nor credit", quote(cell))),
        }
    }

    /// The column that is wrong with an amount.
    fn amount_field(&self, record: &Record, currency: Currency) -> String {
        let roles = [Role::Amount, Role::Debit, Role::Credit, Role::Fee];
        let is_wrong = |role: &Role| {
            let cell = self.cell(record, *role);
            !cell.is_empty() && amounts::read(cell, self.mark, currency).is_err()
        };
        let wrong = roles.into_iter().find(is_wrong);
        let directed = self.table.columns.get(Role::Direction).map(|_| Role::Direction);
        let is_given = self.amount_cells(record).any(|cell| !cell.is_empty());
        let wrong = wrong.or(directed.filter(|_| is_given)).unwrap_or(Role::Amount);
        self.field(
            wrong,
            if wrong == Role::Direction {
                "direction"
            } else {
                "amount"
            },
        )
    }

    fn balance(&self, record: &Record, draft: &mut Draft) -> Option<Money> {
        let cell = self.cell(record, Role::Balance);
        if cell.is_empty() {
            return None;
        }
        match amounts::read(cell, self.mark, draft.currency) {
            Ok(balance) => Some(if self.turns_sign { balance.negated() } else { balance }),
            Err(problem) => {
                draft
                    .found
                    .remark(record.line, self.field(Role::Balance, "balance"), problem);
                None
            }
        }
    }
}

/// An IBAN that a cell holds, without its spaces.
fn iban(cell: &str) -> Option<String> {
    let bare: String = cell.chars().filter(|c| !c.is_whitespace()).take(80).collect();
    let candidates = bare.split(|c: char| !c.is_ascii_alphanumeric());
    let is_iban = |text: &str| {
        let bytes = text.as_bytes();
        (15..=34).contains(&bytes.len())
            && bytes[..2].iter().all(u8::is_ascii_uppercase)
            && bytes[2..4].iter().all(u8::is_ascii_digit)
            && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    candidates.into_iter().find(|text| is_iban(text)).map(str::to_owned)
}
