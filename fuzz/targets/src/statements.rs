//! Statement files: whatever a person uploads, reading answers with statements whose texts and numbers keep their bounds, or
//! with an error. What was read can be sent as a command, and says the same there.

use connectors::banks::statement_file::{FILE_ROWS_MAX, Options, Reading, join_by_account, prove, read};
use domain::statement::Statement;

/// Files as a person finds them, and once with everything said that a file may leave open.
fn check(bytes: &[u8]) {
    let pairs = [
        ("currency", "KWD"),
        ("csv.columns.booked_on", "1"),
        ("csv.columns.amount", "2"),
    ];
    let told = Options::from_pairs(pairs).expect("these options exist");
    for options in [Options::default(), told] {
        let first = read(bytes, &options);
        assert_eq!(first, read(bytes, &options), "the same file reads the same");
        if let Ok(reading) = first {
            holds(&reading);
        }
    }
}

fn holds(reading: &Reading) {
    assert!(!reading.statements.is_empty());
    let rows: usize = reading.statements.iter().map(|statement| statement.rows_read).sum();
    assert!(rows <= FILE_ROWS_MAX);
    let joined = join_by_account(reading.statements.clone());
    for statement in reading.statements.iter().chain(&joined) {
        assert_eq!(
            statement.rows_read,
            statement.statement.rows.len() + statement.broken.len()
        );
        drop(prove(&statement.statement));
        bounded(&statement.statement);
        let json = serde_json::to_string(&statement.statement).expect("a statement is JSON");
        let sent: Statement = serde_json::from_str(&json).expect("and comes back");
        assert_eq!(sent, statement.statement);
    }
}

fn bounded(statement: &Statement) {
    let balances = [statement.opening, statement.closing].into_iter().flatten();
    for money in statement.rows.iter().map(|row| row.amount).chain(balances) {
        assert_eq!(money.currency(), statement.currency);
    }
    for row in &statement.rows {
        let texts = [
            (Some(&row.counterparty), 200),
            (Some(&row.remittance), 500),
            (row.reference.as_ref(), 255),
            (row.category.as_ref(), 120),
        ];
        for (text, chars_max) in texts {
            let Some(text) = text else { continue };
            assert!(
                text.chars().count() <= chars_max && !text.contains(char::is_control),
                "{text:?}"
            );
        }
    }
}

/// Any file; the seeds are OFX.
pub fn statement_ofx(data: &[u8]) {
    check(data);
}

/// Any file; the seeds are CAMT.
pub fn statement_camt(data: &[u8]) {
    check(data);
}

/// Any file; the seeds are MT940.
pub fn statement_mt940(data: &[u8]) {
    check(data);
}

/// The first byte chooses options, the rest is the file; the seeds are CSV.
pub fn statement_csv(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else {
        return;
    };
    check(file);
    let choose = |bit: u8| choice & (1 << bit) != 0;
    let mut pairs = vec![("currency", "EUR")];
    let more = [
        (0, ("csv.invert_sign", "true")),
        (1, ("csv.skip_lines", "1")),
        (2, ("csv.delimiter", "tab")),
        (3, ("csv.decimal", "comma")),
        (4, ("csv.encoding", "windows-1252")),
        (5, ("csv.columns.amount", "3")),
        (6, ("csv.columns.balance", "4")),
        (7, ("csv.date_format", "%d/%m/%Y")),
    ];
    pairs.extend(more.into_iter().filter(|(bit, _)| choose(*bit)).map(|(_, pair)| pair));
    let options = Options::from_pairs(pairs).expect("these options exist");
    if let Ok(reading) = read(file, &options) {
        holds(&reading);
    }
}
