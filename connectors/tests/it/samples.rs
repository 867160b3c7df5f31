//! Every sample file gives its documented answer.
//!
//! The files are not part of this repository: the folder is named by `KINLEDGER_SAMPLES`, or stands beside it as
//! `shared/samples`. Without it these tests say that they are skipped. The answers were found by reading the files.

use std::path::PathBuf;

use connectors::banks::statement_file::{
    Options, Proof, Reading, StatementError, StatementReading, StatementRefusal, join_by_account, read,
};

/// The bytes of a sample; none where there are no samples, which is told.
pub(crate) fn sample(name: &str) -> Option<Vec<u8>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/samples");
    let folder = std::env::var_os("KINLEDGER_SAMPLES").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: there is no folder of samples; name one in KINLEDGER_SAMPLES");
        return None;
    }
    Some(std::fs::read(folder.join(name)).expect("a sample of that name"))
}

/// Options with a currency for files that name none.
pub(crate) fn options(currency: &str) -> Options {
    Options {
        currency: currency.parse().ok(),
        ..Options::default()
    }
}

/// A statement in one line: account, currency, rows and pending ones, first and last day, balances, proof.
fn told(reading: &StatementReading) -> String {
    let money = |money: Option<domain::Money>| money.map_or("?".to_owned(), |money| money.amount().to_string());
    let day = |day: Option<chrono::NaiveDate>| day.map_or("-".to_owned(), |day| day.to_string());
    let proof = match &reading.proof {
        Proof::Proved => "proved".to_owned(),
        Proof::NotStated => "not stated".to_owned(),
        Proof::BrokenRows { difference } => format!("broken rows owe {}", difference.amount()),
        Proof::Failed(error) => format!("failed by {}", error.difference.amount()),
    };
    let statement = &reading.statement;
    assert_eq!(reading.rows_read, statement.rows.len() + reading.broken.len());
    format!(
        "{} {}: {} rows, {} pending, {} to {}, {} to {} on {}, {proof}",
        statement.bank_account,
        statement.currency,
        statement.rows.len(),
        reading.pending,
        day(reading.first_on),
        day(reading.last_on),
        money(statement.opening),
        money(statement.closing),
        day(statement.closing_on),
    )
}

fn rows(reading: &Reading) -> Vec<String> {
    let row = |row: &domain::statement::BankTransaction| {
        let reference = row.reference.as_deref().unwrap_or("-");
        format!(
            "{} {} {reference} | {} | {}",
            row.booked_on,
            row.amount.amount(),
            row.counterparty,
            row.remittance
        )
    };
    reading
        .statements
        .iter()
        .flat_map(|reading| &reading.statement.rows)
        .map(row)
        .collect()
}

fn broken(reading: &Reading) -> Vec<String> {
    let rows = reading.statements.iter().flat_map(|reading| &reading.broken);
    rows.map(|row| format!("line {}, {}: {}", row.line, row.field, row.problem))
        .collect()
}

fn remarks(reading: &Reading) -> Vec<String> {
    let remarks = reading.statements.iter().flat_map(|reading| &reading.remarks);
    remarks
        .map(|remark| format!("line {}, {}: {}", remark.line, remark.field, remark.problem))
        .collect()
}

fn read_sample(name: &str, options: &Options) -> Option<Result<Reading, StatementError>> {
    Some(read(&sample(name)?, options))
}

fn check(name: &str, statements: &[&str], expected_rows: Option<&[&str]>) -> Option<Reading> {
    let reading = read_sample(name, &Options::default())?.expect(name);
    assert_eq!(
        reading.statements.iter().map(told).collect::<Vec<_>>(),
        statements,
        "{name}"
    );
    if let Some(expected) = expected_rows {
        assert_eq!(rows(&reading), expected, "{name}");
    }
    Some(reading)
}

#[test]
fn camt_reports_and_notifications() {
    check(
        "camt/camt052.v2.xml",
        &["CH2801234000123456789 SEK: 1 rows, 0 pending, 2007-10-18 to 2007-10-18, ? to ? on -, not stated"],
        Some(&["2007-10-18 -200000.00 AAAASESS-FP-ACCR-01 | Company Name | Credit"]),
    );
    // Its only entry is pending; the interim balance is the closing one.
    check(
        "camt/camt052.v6.Amt-zero.xml",
        &["CH2801234000123456789 CHF: 0 rows, 1 pending, - to -, ? to 10022.15 on 2020-04-04, not stated"],
        Some(&[]),
    );
    // A batch of three payments is one row.
    check(
        "camt/camt054.v4.xml",
        &["CH2801234000123456789 SEK: 1 rows, 0 pending, 2007-10-18 to 2007-10-18, ? to ? on -, not stated"],
        Some(&["2007-10-18 -200000.00 ACSR160617103200001 \
             | Example Creditor 3 - V1, Example Creditor 3 - V2, Example Creditor 3 - V3 \
             | Unstructured Remittance Information V1 Unstructured Remittance Information V3 block 1 Unstructured Remittance Information V3 block 2"]),
    );
}

#[test]
fn camt_statements() {
    // These three state the closing balance of a euro account in Swedish crowns: it is named and left out.
    let statement = "NL26VAYB8060476890 EUR: 1 rows, 0 pending, 2014-12-31 to 2014-12-31, 18.15 to ? on -, not stated";
    let files = [
        ("camt053.v2.minimal.xml", "-", 54),
        ("camt053.v4.xml", "AAAASESS-FP-CN_98765/01", 74),
        ("camt053.v8.xml", "AAAASESS-FP-CN_98765/01", 74),
    ];
    for (name, reference, line) in files {
        let row = format!("2014-12-31 8.85 {reference} | NAME NAME | 4654654654654654");
        let Some(reading) = check(&format!("camt/{name}"), &[statement], Some(&[&row])) else {
            return;
        };
        assert_eq!(
            remarks(&reading),
            [format!(
                "line {line}, Bal/CLBD: the balance is in SEK, the account in EUR; it is left out"
            )]
        );
    }
    let multi = check(
        "camt/camt053.v2.multi.statement.xml",
        &[
            "NL26VAYB8060476890 EUR: 1 rows, 0 pending, 2014-12-31 to 2014-12-31, 18.15 to 27.00 on 2014-12-31, proved",
            "NL26VAYB8060476890 EUR: 1 rows, 0 pending, 2014-12-31 to 2014-12-31, 27.00 to 20.00 on 2014-12-31, proved",
        ],
        Some(&[
            "2014-12-31 8.85 - |  | Transaction Description 1",
            "2014-12-31 -7.00 - | Company Name 2 | Transaction Description 2",
        ]),
    );
    let joined = join_by_account(multi.expect("samples").statements);
    let whole =
        "NL26VAYB8060476890 EUR: 2 rows, 0 pending, 2014-12-31 to 2014-12-31, 18.15 to 20.00 on 2014-12-31, proved";
    assert_eq!(joined.iter().map(told).collect::<Vec<_>>(), [whole]);
}

#[test]
fn two_equal_rows_on_one_day_are_two_payments() {
    let row = "2026-04-07 -4.50 - | CITY COFFEE | CARD PAYMENT CITY COFFEE";
    check(
        "camt/camt053_duplicate_same_day.xml",
        &["DE89370400440532013000 EUR: 2 rows, 0 pending, 2026-04-07 to 2026-04-07, ? to ? on -, not stated"],
        Some(&[row, row]),
    );
}

#[test]
fn files_without_a_statement() {
    for name in [
        "camt/camt053.v2.wrong.xml",
        "ofx/bank_small.ofx",
        "mt940/empty_non_swift.sta",
    ] {
        let Some(result) = read_sample(name, &options("EUR")) else {
            return;
        };
        assert!(
            matches!(result, Err(StatementError::NoStatement(_))),
            "{name}: {result:?}"
        );
    }
    let banks_own = StatementRefusal::BankError {
        code: "2000".into(),
        message: "General Server Error".into(),
    };
    assert_eq!(
        read_sample("ofx/error_message.ofx", &Options::default()),
        Some(Err(banks_own.into()))
    );
}

#[test]
fn csv_with_decimal_commas() {
    check(
        "csv/csv_european_decimals.csv",
        &["DE89370400440532013000 EUR: 3 rows, 0 pending, 2026-04-02 to 2026-04-09, ? to ? on -, not stated"],
        Some(&[
            "2026-04-02 -1234.56 EU-001 |  | Miete April",
            "2026-04-05 3500.00 EU-002 |  | Gehalt",
            "2026-04-09 -4.50 EU-003 |  | Kaffee",
        ]),
    );
}

#[test]
fn mt940_statements_that_prove() {
    check(
        "mt940/citi.txt",
        &["123456789 USD: 5 rows, 0 pending, 2024-03-12 to 2024-03-12, 17376.67 to 16233.92 on 2024-03-12, proved"],
        None,
    );
    check(
        "mt940/rabobank-iban.sta",
        &[
            "NL71RABO0123456789 EUR: 2 rows, 0 pending, 2013-01-01 to 2013-01-02, 1000.00 to 965.00 on 2013-01-08, proved",
            "NL71RABO0123456789 EUR: 2 rows, 0 pending, 2013-01-08 to 2013-01-09, 965.00 to 930.00 on 2013-01-15, proved",
        ],
        Some(&[
            "2013-01-01 -25.00 - | CONTRA ACCOUNT HOLDER | ",
            "2013-01-02 -10.00 - | JOHN DOE | Reference 201301234",
            "2013-01-08 -25.00 - | CONTRA ACCOUNT HOLDER | ",
            "2013-01-09 -10.00 - | JOHN DOE | Reference 201301234",
        ]),
    );
    let marks = check(
        "mt940/mt940.sta",
        &[
            "10020030/1234567 EUR: 2 rows, 0 pending, 2002-11-02 to 2002-11-02, 2187.95 to 4387.95 on 2002-11-30, proved",
            "BPHKPLPK/320000546101 PLN: 3 rows, 0 pending, 2003-10-20 to 2003-10-20, 40000.00 to 50040.00 on 2002-03-25, proved",
        ],
        None,
    );
    let Some(marks) = marks else { return };
    // The first statement of the file is in German marks.
    let refused: Vec<_> = marks
        .refused
        .iter()
        .map(|refused| (refused.line, refused.bank_account.as_str(), refused.refusal.clone()))
        .collect();
    assert_eq!(
        refused,
        [(
            1,
            "45050050/76198810",
            StatementRefusal::UnknownCurrency { code: "DEM".into() }
        )]
    );
}

#[test]
fn mt940_daily_statements_of_a_month_chain() {
    let Some(reading) = read_sample("mt940/asnb.txt", &Options::default()) else {
        return;
    };
    let reading = reading.expect("readable");
    assert_eq!(reading.statements.len(), 31);
    assert!(
        reading
            .statements
            .iter()
            .all(|statement| statement.proof == Proof::Proved)
    );
    let whole =
        "NL81ASNB9999999999 EUR: 8 rows, 0 pending, 2020-01-01 to 2020-01-31, 444.29 to 501.23 on 2020-01-31, proved";
    assert_eq!(
        join_by_account(reading.statements).iter().map(told).collect::<Vec<_>>(),
        [whole]
    );
}

#[test]
fn mt940_pages_of_twenty_accounts_prove() {
    let Some(reading) = read_sample("mt940/sepa_mt9401.sta", &Options::default()) else {
        return;
    };
    let reading = reading.expect("readable");
    assert!(
        reading
            .statements
            .iter()
            .all(|statement| statement.proof == Proof::Proved)
    );
    let counts: Vec<usize> = reading.statements.iter().map(|statement| statement.rows_read).collect();
    assert_eq!(counts, [7, 2, 5, 3, 5, 1, 8, 11, 12, 9, 1, 12, 1, 3, 4, 7, 3, 1, 1, 1]);
    // Three pages: 62M and 60M, twice.
    let paged = "50880050/0194785000888 EUR: 12 rows, 0 pending, 2007-09-04 to 2007-09-04, -3612519.02 to -5113593.52 on 2007-09-04, proved";
    assert_eq!(told(&reading.statements[11]), paged);
    assert_eq!(join_by_account(reading.statements).len(), 20);
}

#[test]
fn mt940_statements_that_do_not_prove() {
    check(
        "mt940/ing.sta",
        &["0001234567 EUR: 7 rows, 0 pending, 2010-07-22 to 2010-07-23, 0.00 to 3.47 on 2010-07-23, failed by 49.06"],
        None,
    );
    let snippet = check(
        "mt940/sepa_snippet_broken.sta",
        &[
            "50880050/0194787400888 EUR: 1 rows, 0 pending, 2007-09-04 to 2007-09-04, 766656.49 to 1125250.40 on 2007-09-04, failed by 307603.86",
        ],
        Some(&["2007-09-04 50990.05 0724710333343453 | KARL KAUFMANN | Verw CTSc-01 BC-PPP TFNr 22 004"]),
    );
    let Some(snippet) = snippet else { return };
    assert_eq!(
        remarks(&snippet),
        ["line 6, :25:: it stands where the row's :86: belongs and is read as that"]
    );
}

#[test]
fn mt940_snippets() {
    let opening = |amount: &str| format!(" EUR: 0 rows, 0 pending, - to -, {amount} to ? on -, not stated");
    let openings = ["380115.12", "380115.10", "380115.00", "0.12", "0.12", "1.12"].map(opening);
    let openings: Vec<&str> = openings.iter().map(String::as_str).collect();
    check("mt940/amount_formats.sta", &openings, None);
    // A row on torn lines, without the balances that would name its currency.
    assert_eq!(
        read_sample("mt940/sparkassen.sta", &Options::default()).unwrap_or(Err(StatementRefusal::NoCurrency.into())),
        Err(StatementRefusal::NoCurrency.into())
    );
    let Some(torn) = read_sample("mt940/sparkassen.sta", &options("EUR")) else {
        return;
    };
    assert_eq!(rows(&torn.expect("readable")), ["2018-11-26 30.00 - |  | Test"]);
}

#[test]
fn ofx_statements() {
    check(
        "ofx/anzcc.ofx",
        &["1234123412341234 AUD: 1 rows, 0 pending, 2017-05-08 to 2017-05-08, ? to -123.45 on 2017-05-10, not stated"],
        Some(&["2017-05-08 -5.50 201705080001 |  | SOME MEMO"]),
    );
    check(
        "ofx/bank_medium.ofx",
        &["12300 000012345678 CAD: 3 rows, 0 pending, 2009-04-01 to 2009-04-03, ? to 382.34 on 2009-05-23, not stated"],
        Some(&[
            "2009-04-01 -6.60 0000123456782009040100001 | MCDONALD'S #112 | POS MERCHANDISE;MCDONALD'S #112",
            "2009-04-02 -316.67 0000123456782009040200004 | Joe's Bald Hairstyles | MISCELLANEOUS PAYMENTS;Joe's Bald Hairstyles",
            "2009-04-03 -22.00 0000123456782009040300005 | CONNIE'S HAIR D | POS MERCHANDISE;CONNIE'S HAIR D",
        ]),
    );
    check(
        "ofx/checking.ofx",
        &["1452687~7 USD: 3 rows, 0 pending, 2011-03-31 to 2011-04-07, ? to 100.99 on 2013-05-25, not stated"],
        None,
    );
    check(
        "ofx/multiple_accounts.ofx",
        &[
            "9100 USD: 0 rows, 0 pending, - to -, ? to 111.00 on 2012-06-03, not stated",
            "9200 USD: 0 rows, 0 pending, - to -, ? to 222.00 on 2012-06-03, not stated",
        ],
        None,
    );
}

#[test]
fn ofx_statements_with_broken_rows() {
    let decimal = check(
        "ofx/decimal_error.ofx",
        &["192639749 CAD: 0 rows, 0 pending, - to -, ? to 0.00 on 2011-06-14, not stated"],
        None,
    );
    let Some(decimal) = decimal else { return };
    assert_eq!(
        broken(&decimal),
        ["line 36, DTPOSTED: '201120000000' is not a date; TRNAMT: '$120' is not an amount"]
    );
    let savings = check(
        "ofx/fidelity-savings.ofx",
        &["X0000001 USD: 1 rows, 0 pending, 2012-07-20 to 2012-07-20, ? to ? on -, not stated"],
        Some(&["2012-07-20 -1500.00 X0000000000000000000001 | Check Paid #0000001001 | Check Paid #0000001001"]),
    );
    let too_precise =
        |line: usize, amount: &str| format!("line {line}, TRNAMT: USD has 2 decimal places; '{amount}' has more");
    assert_eq!(
        broken(&savings.expect("samples")),
        [
            too_precise(66, "115.8331"),
            too_precise(81, "197.1063"),
            too_precise(96, "197.1220")
        ]
    );
}
