//! Which column holds what: as asked for, else by its heading.

use domain::Currency;

use super::{
    super::CsvColumns,
    headings::{HEADINGS, ROLES, Role, fold, without_currency},
    table::Record,
};

/// The column of each role, and the currency that a heading of amounts names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    of: [Option<usize>; ROLES],
    /// From a heading such as `Betrag (EUR)`.
    pub(super) currency: Option<Currency>,
}

impl Columns {
    /// The column of a role, counted from 0.
    pub(super) fn get(&self, role: Role) -> Option<usize> {
        self.of[role as usize]
    }

    /// Sets or forgets the column of a role.
    pub(super) fn set(&mut self, role: Role, column: Option<usize>) {
        self.of[role as usize] = column;
    }

    /// Has the column a role already?
    pub(super) fn is_taken(&self, column: usize) -> bool {
        self.of.contains(&Some(column))
    }

    /// Is there a date?
    pub(super) fn has_date(&self) -> bool {
        self.get(Role::BookedOn).or(self.get(Role::ValueOn)).is_some()
    }

    /// Is there an amount?
    pub(super) fn has_amount(&self) -> bool {
        self.get(Role::Amount)
            .or(self.get(Role::Debit))
            .or(self.get(Role::Credit))
            .is_some()
    }

    /// Is there what every row needs?
    pub(super) fn is_enough(&self) -> bool {
        self.has_date() && self.has_amount()
    }

    /// The columns that have a role.
    pub(super) fn taken(&self) -> impl Iterator<Item = usize> {
        self.of.iter().flatten().copied()
    }

    /// How many roles have a column.
    pub(super) fn count(&self) -> usize {
        self.of.iter().flatten().count()
    }
}

/// What a record means if it is the headings; none when a heading that was asked for is not in it, and when no cell of
/// it is known as a heading at all.
pub(super) fn columns(record: &Record, asked: &CsvColumns) -> Option<Columns> {
    let folded: Vec<String> = record.cells().map(fold).collect();
    let mut columns = Columns::default();
    let mut known = 0;
    for (role, name) in asked_for(asked) {
        let column = match number(name) {
            Some(column) => Some(column).filter(|column| *column < folded.len()),
            None => folded.iter().position(|heading| *heading == fold(name)),
        };
        if !name.is_empty() {
            columns.set(role, Some(column?));
            known += usize::from(number(name).is_none());
        }
    }
    let is_asked = |role: Role| asked_for(asked).any(|(asked, _)| asked == role);
    for (role, headings) in HEADINGS.iter().filter(|(role, _)| !is_asked(*role)) {
        let is_free = |columns: &Columns, column: &usize| !columns.is_taken(*column);
        let whole = headings.iter().find_map(|name| {
            folded
                .iter()
                .position(|heading| heading == name)
                .filter(|c| is_free(&columns, c))
        });
        let bare = || {
            headings.iter().find_map(|name| {
                let is_it = |heading: &String| without_currency(heading).is_some_and(|(heading, _)| heading == *name);
                folded.iter().position(is_it).filter(|column| is_free(&columns, column))
            })
        };
        let column = whole.or_else(bare);
        known += usize::from(column.is_some());
        columns.set(*role, column);
    }
    if known == 0 {
        return None;
    }
    let of_amounts = [Role::Amount, Role::Credit, Role::Debit, Role::Balance]
        .into_iter()
        .filter_map(|role| columns.get(role));
    columns.currency = of_amounts
        .filter_map(|column| without_currency(folded.get(column)?))
        .map(|(_, currency)| currency)
        .next();
    Some(columns)
}

/// The columns that were named by number.
pub(super) fn by_number(asked: &CsvColumns) -> Columns {
    let mut columns = Columns::default();
    for (role, name) in asked_for(asked) {
        columns.set(role, number(name));
    }
    columns
}

/// `3` is the third column.
fn number(name: &str) -> Option<usize> {
    name.parse::<usize>().ok()?.checked_sub(1)
}

fn asked_for(asked: &CsvColumns) -> impl Iterator<Item = (Role, &str)> {
    let columns = [
        (Role::BookedOn, &asked.booked_on),
        (Role::ValueOn, &asked.value_on),
        (Role::Amount, &asked.amount),
        (Role::Debit, &asked.debit),
        (Role::Credit, &asked.credit),
        (Role::Fee, &asked.fee),
        (Role::Balance, &asked.balance),
        (Role::Currency, &asked.currency),
        (Role::Direction, &asked.direction),
        (Role::Counterparty, &asked.counterparty),
        (Role::Debtor, &asked.debtor),
        (Role::Remittance, &asked.remittance),
        (Role::Reference, &asked.reference),
        (Role::Category, &asked.category),
        (Role::BankAccount, &asked.bank_account),
        (Role::Status, &asked.status),
    ];
    columns
        .into_iter()
        .filter_map(|(role, name)| Some((role, name.as_deref()?)))
}
