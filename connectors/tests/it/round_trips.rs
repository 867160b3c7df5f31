//! Random statements, rendered as a bank would, read back the same.

use chrono::NaiveDate;
use connectors::banks::statement_file::{Format, Options, Proof, StatementReading, read};
use domain::{Currency, Money};
use proptest::prelude::*;

/// A statement to render.
#[derive(Clone, Debug)]
struct Book {
    currency: Currency,
    opening: Money,
    /// In order of their days.
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    day: NaiveDate,
    amount: Money,
    name: String,
    purpose: String,
}

impl Book {
    fn closing(&self) -> Money {
        self.rows
            .iter()
            .try_fold(self.opening, |sum, row| sum.checked_add(&row.amount))
            .expect("small amounts add")
    }

    fn matches(&self, reading: &StatementReading) -> Result<(), TestCaseError> {
        let read: Vec<_> = reading
            .statement
            .rows
            .iter()
            .map(|row| (row.booked_on, row.amount, &row.counterparty, &row.remittance))
            .collect();
        let wanted: Vec<_> = self
            .rows
            .iter()
            .map(|row| (row.day, row.amount, &row.name, &row.purpose))
            .collect();
        prop_assert_eq!(read, wanted);
        prop_assert!(reading.broken.is_empty() && reading.remarks.is_empty() && reading.pending == 0);
        Ok(())
    }
}

fn money(currency: Currency, minor: i64) -> Money {
    Money::try_new(rust_decimal::Decimal::new(minor, currency.scale()), currency).expect("in range")
}

/// Books whose texts are made of `letters`; what a reader would tidy is left out of them.
fn books(text: &'static str) -> impl Strategy<Value = Book> {
    let row = (0_u32..3_000, -9_999_999_i64..10_000_000, text, text);
    let rows = prop::collection::vec(row, 1..12);
    (
        prop::sample::select(vec!["EUR", "JPY", "KWD", "USD"]),
        -9_999_999_i64..10_000_000,
        rows,
    )
        .prop_map(|(code, opening, rows)| {
            let currency: Currency = code.parse().expect("known");
            let start = NaiveDate::from_ymd_opt(2019, 1, 1).expect("a day");
            let row = |(day, minor, name, purpose)| Row {
                day: start + chrono::Days::new(u64::from(day)),
                amount: money(currency, minor),
                name,
                purpose,
            };
            let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
            rows.sort_by_key(|row| row.day);
            Book {
                currency,
                opening: money(currency, opening),
                rows,
            }
        })
}

fn one(text: &str, options: &Options, format: Format) -> Result<StatementReading, TestCaseError> {
    let mut reading =
        read(text.as_bytes(), options).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
    prop_assert_eq!(reading.format, format);
    prop_assert_eq!((reading.statements.len(), reading.refused.len()), (1, 0));
    Ok(reading.statements.remove(0))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn ofx(book: &Book, is_xml: bool) -> String {
    let end = |tag: &str| if is_xml { format!("</{tag}>") } else { "\n".to_owned() };
    let element = |tag: &str, value: &str| format!("<{tag}>{}{}", escaped(value), end(tag));
    let row = |row: &Row| {
        let fields = [
            ("DTPOSTED", row.day.format("%Y%m%d120000[-5:EST]").to_string()),
            ("TRNAMT", row.amount.amount().to_string()),
        ];
        let texts = [("NAME", row.name.clone()), ("MEMO", row.purpose.clone())];
        format!(
            "<STMTTRN>{}</STMTTRN>",
            fields
                .iter()
                .chain(&texts)
                .map(|(tag, value)| element(tag, value))
                .collect::<String>()
        )
    };
    let (currency, rows) = (
        element("CURDEF", book.currency.code()),
        book.rows.iter().map(row).collect::<String>(),
    );
    let balance = element("BALAMT", &book.closing().amount().to_string());
    format!("<OFX><STMTRS>{currency}<BANKTRANLIST>{rows}</BANKTRANLIST><LEDGERBAL>{balance}</LEDGERBAL></STMTRS></OFX>")
}

fn camt(book: &Book) -> String {
    let amount = |money: Money| {
        let direction = if money.is_negative() { "DBIT" } else { "CRDT" };
        format!(
            "<Amt Ccy=\"{}\">{}</Amt><CdtDbtInd>{direction}</CdtDbtInd>",
            money.currency(),
            money.amount().abs()
        )
    };
    let balance = |code: &str, money: Money| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{}</Bal>",
            amount(money)
        )
    };
    let row = |row: &Row| {
        let side = if row.amount.is_negative() { "Cdtr" } else { "Dbtr" };
        format!(
            "<Ntry>{}<Sts>BOOK</Sts><BookgDt><Dt>{}</Dt></BookgDt><NtryDtls><TxDtls><RltdPties><{side}><Nm>{}</Nm></{side}></RltdPties>\
             <RmtInf><Ustrd>{}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>",
            amount(row.amount),
            row.day,
            escaped(&row.name),
            escaped(&row.purpose)
        )
    };
    let rows: String = book.rows.iter().map(row).collect();
    let (opening, closing) = (balance("OPBD", book.opening), balance("CLBD", book.closing()));
    format!(
        "<Document><BkToCstmrStmt><Stmt><Acct><Ccy>{}</Ccy></Acct>{opening}{closing}{rows}</Stmt></BkToCstmrStmt></Document>",
        book.currency
    )
}

fn mt940(book: &Book) -> String {
    let mark = |money: Money| if money.is_negative() { "D" } else { "C" };
    let digits = |money: Money| {
        let digits = money.amount().abs().to_string().replace('.', ",");
        if digits.contains(',') { digits } else { digits + "," }
    };
    let balance =
        |tag: &str, money: Money| format!(":{tag}:{}240101{}{}\r\n", mark(money), money.currency(), digits(money));
    let row = |row: &Row| {
        let details: Vec<char> = format!("/NAME/{}/REMI/{}", row.name, row.purpose).chars().collect();
        let details: Vec<String> = details.chunks(65).map(|line| line.iter().collect()).collect();
        let day = row.day.format("%y%m%d%m%d");
        format!(
            ":61:{day}{}{}NTRFNONREF\r\n:86:{}\r\n",
            mark(row.amount),
            digits(row.amount),
            details.join("\r\n")
        )
    };
    let rows: String = book.rows.iter().map(row).collect();
    format!(
        ":20:1\r\n:25:NL1\r\n:28C:1/1\r\n{}{rows}{}-\r\n",
        balance("60F", book.opening),
        balance("62F", book.closing())
    )
}

/// How a bank writes its CSV.
#[derive(Clone, Debug)]
struct Habit {
    delimiter: u8,
    has_commas: bool,
    is_newest_first: bool,
    day: &'static str,
}

fn habits() -> impl Strategy<Value = Habit> {
    let day = prop::sample::select(vec!["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"]);
    (
        prop::sample::select(vec![b',', b';', b'\t', b'|']),
        any::<bool>(),
        any::<bool>(),
        day,
    )
        .prop_map(|(delimiter, has_commas, is_newest_first, day)| Habit {
            delimiter,
            has_commas,
            is_newest_first,
            day,
        })
}

fn csv(book: &Book, habit: &Habit) -> String {
    let digits = |money: Money| {
        let digits = money.amount().to_string();
        if habit.has_commas {
            digits.replace('.', ",")
        } else {
            digits
        }
    };
    let mut balance = book.opening;
    let mut records: Vec<[String; 6]> = Vec::new();
    for row in &book.rows {
        balance = balance.checked_add(&row.amount).expect("small amounts add");
        let day = row.day.format(habit.day).to_string();
        records.push([
            day,
            row.name.clone(),
            row.purpose.clone(),
            digits(row.amount),
            digits(balance),
            book.currency.code().to_owned(),
        ]);
    }
    if habit.is_newest_first {
        records.reverse();
    }
    let mut writer = ::csv::WriterBuilder::new()
        .delimiter(habit.delimiter)
        .from_writer(Vec::new());
    writer
        .write_record(["Date", "Payee", "Memo", "Amount", "Balance", "Currency"])
        .expect("in memory");
    records
        .iter()
        .for_each(|record| writer.write_record(record).expect("in memory"));
    String::from_utf8(writer.into_inner().expect("in memory")).expect("text")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn ofx_reads_back(book in books("([A-Za-zäß&<>;,.'\"/|-]{1,12}( [a-z&<]{3})?)?"), is_xml in any::<bool>()) {
        let reading = one(&ofx(&book, is_xml), &Options::default(), Format::Ofx)?;
        book.matches(&reading)?;
        prop_assert_eq!(reading.statement.closing, Some(book.closing()));
    }

    #[test]
    fn camt_reads_back(book in books("[A-Za-zäß&<>;,.'\"/|-]{1,12}( [a-z&<]{3})?")) {
        let reading = one(&camt(&book), &Options::default(), Format::Camt)?;
        book.matches(&reading)?;
        prop_assert_eq!((reading.statement.opening, reading.statement.closing), (Some(book.opening), Some(book.closing())));
        prop_assert_eq!(reading.proof, Proof::Proved);
    }

    // SWIFT allows no continuation line to begin with a hyphen or a colon, so the texts have none.
    #[test]
    fn mt940_reads_back(book in books("[a-z0-9.,+]{1,40}( [a-z0-9]{1,30})?( [a-z0-9]{1,30})?")) {
        let reading = one(&mt940(&book), &Options::default(), Format::Mt940)?;
        book.matches(&reading)?;
        prop_assert_eq!((reading.statement.opening, reading.statement.closing), (Some(book.opening), Some(book.closing())));
        prop_assert_eq!(reading.proof, Proof::Proved);
    }

    #[test]
    fn csv_reads_back(mut book in books("([A-Za-zäß&<>;,.'\"/|-]{1,12}( [a-z&<]{3})?)?"), habit in habits()) {
        let decimal = if habit.has_commas { "comma" } else { "point" };
        let options = Options::from_pairs([("csv.date_format", habit.day), ("csv.decimal", decimal)]).expect("options");
        let reading = one(&csv(&book, &habit), &options, Format::Csv)?;
        prop_assert_eq!(&reading.proof, &Proof::Proved);
        if habit.is_newest_first {
            book.rows.reverse();
        } else {
            prop_assert_eq!((reading.statement.opening, reading.statement.closing), (Some(book.opening), Some(book.closing())));
        }
        book.matches(&reading)?;
    }

    #[test]
    fn a_lost_row_never_proves(book in books("[a-z]{1,5}"), place in any::<prop::sample::Index>()) {
        let mut short = book.clone();
        let lost = short.rows.remove(place.index(book.rows.len()));
        let row = |text: &str| text.find(":62F:").expect("closing");
        let (whole, cut) = (mt940(&book), mt940(&short));
        let text = format!("{}{}", &cut[..row(&cut)], &whole[row(&whole)..]);
        let reading = one(&text, &Options::default(), Format::Mt940)?;
        prop_assert_eq!(reading.proof.is_failed(), !lost.amount.is_zero());
    }
}
