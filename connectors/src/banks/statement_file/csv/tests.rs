//! CSV files of many makes.

use domain::Money;

use super::*;
use crate::banks::reading::StatementRefusal;

fn euro() -> Options {
    Options {
        currency: "EUR".parse().ok(),
        ..Options::default()
    }
}

fn with(pairs: &[(&str, &str)]) -> Options {
    Options::from_pairs([("currency", "EUR")].into_iter().chain(pairs.iter().copied())).expect("options")
}

fn one(text: &str, options: &Options) -> StatementReading {
    let mut feed = read(text, options).expect("readable");
    assert_eq!(feed.statements.len(), 1, "{text}");
    feed.statements.remove(0)
}

fn rows(reading: &StatementReading) -> Vec<String> {
    let told = |row: &BankTransaction| {
        format!(
            "{} {}|{}|{}",
            row.booked_on,
            row.amount.amount(),
            row.counterparty,
            row.remittance
        )
    };
    reading.statement.rows.iter().map(told).collect()
}

#[test]
fn the_same_rows_are_read_in_seven_languages() {
    let files = [
        "Date,Payee,Description,Amount\n2024-01-13,Ann,Rent,-4.50\n",
        "\"Buchungstag\";\"Begünstigter/Zahlungspflichtiger\";\"Verwendungszweck\";\"Betrag (EUR)\"\n13.01.24;Ann;Rent;-4,50\n",
        "Date opération;Libellé;Tiers;Débit;Crédit\n13/01/2024;Rent;Ann;4,50;\n",
        "Fecha operación\tConcepto\tBeneficiario\tImporte\n13/01/2024\tRent\tAnn\t-4,50\n",
        "\"Datum\",\"Naam / Omschrijving\",\"Mededelingen\",\"Af Bij\",\"Bedrag (EUR)\"\n\"20240113\",\"Ann\",\"Rent\",\"Af\",\"4,50\"\n",
        "Data contabile|Causale|Controparte|Entrate|Uscite\n13-01-2024|Rent|Ann||4,50\n",
        "Data księgowania;Tytuł;Kontrahent;Kwota\n2024.01.13;Rent;Ann;-4,50 EUR\n",
    ];
    for file in files {
        assert_eq!(rows(&one(file, &euro())), ["2024-01-13 -4.50|Ann|Rent"], "{file}");
    }
}

#[test]
fn a_german_file_with_lines_above_its_headings_is_read() {
    let text = "\"Konto:\";\"DE89 3704 0044 0532 0130 00 / Giro\";\n\n\"Kontostand vom 14.01.2024:\";\"995,50 EUR\";\n\
        \"Buchungsdatum\";\"Wertstellung\";\"Status\";\"Zahlungspflichtige*r\";\"Zahlungsempfänger*in\";\"Verwendungszweck\";\"Betrag (€)\"\n\
        \"14.01.24\";\"14.01.24\";\"Vorgemerkt\";\"Me\";\"Ann\";\"Later\";\"-1,00\"\n\
        \"13.01.24\";\"15.01.24\";\"Gebucht\";\"Me\";\"Ann\";\"Rent\nof January\";\"-1.004,50\"\n\
        \"12.01.24\";\"12.01.24\";\"Gebucht\";\"Boss\";\"Me\";\"Pay\";\"2.000,00\"\n";
    let reading = one(text, &euro());
    assert_eq!(
        rows(&reading),
        ["2024-01-13 -1004.50|Ann|Rent of January", "2024-01-12 2000.00|Boss|Pay"]
    );
    assert_eq!(
        (reading.statement.bank_account.as_str(), reading.pending, reading.line),
        ("DE89370400440532013000", 1, 5)
    );
    assert_eq!(
        reading.statement.rows[0].value_on.map(|day| day.to_string()).as_deref(),
        Some("2024-01-15")
    );
}

#[test]
fn running_balances_prove_every_row() {
    let text = "Date,Amount,Balance,Category\n2024-01-02,-2.00,9.00,Food\n2024-01-01,1.00,11.00,\n";
    let reading = one(text, &euro());
    assert_eq!(
        (&reading.proof, reading.first_on < reading.last_on),
        (&Proof::Proved, true)
    );
    let told = |money: Option<Money>| money.map(|money| money.amount().to_string());
    assert_eq!(
        (told(reading.statement.opening), told(reading.statement.closing)),
        (Some("10.00".into()), Some("9.00".into()))
    );
    assert_eq!(
        reading.statement.closing_on.map(|day| day.to_string()).as_deref(),
        Some("2024-01-02")
    );
    assert_eq!(reading.statement.rows[0].category.as_deref(), Some("Food"));
    let Proof::Failed(error) = one(&text.replace("9.00", "9.01"), &euro()).proof else {
        panic!("a cent is a cent")
    };
    assert!(
        error
            .place
            .is_some_and(|place| place.starts_with("line 2: the balance is 9.01 EUR"))
    );
}

#[test]
fn a_broken_row_is_named_and_nothing_else_is_lost() {
    let text = "Date,Amount,Ccy,Balance\n2024-01-01,1.00,EUR,1.00\n2024-13-01,1.00,EUR,2.00\n\n2024-01-03,one,EUR,3.00\n2024-01-04,1.00,EUR,4.00\n\
        2024-01-05,1.001,EUR,\n2024-01-06,1.00,DEM,\n,,,\n2024-01-07,,EUR,6.00\n,,total,4.00\n";
    let reading = one(text, &Options::default());
    let named: Vec<_> = reading
        .broken
        .iter()
        .map(|row| (row.line, row.field.as_str(), row.problem.as_str()))
        .collect();
    let wanted = [
        (3, "Date", "'2024-13-01' is not a date"),
        (5, "Amount", "'one' is not an amount"),
        (7, "Amount", "EUR has 2 decimal places; '1.001' has more"),
        (8, "Ccy", "'DEM' is not a currency in use"),
        (10, "Amount", "there is no amount"),
    ];
    assert_eq!(named, wanted);
    assert_eq!(
        (reading.rows_read, reading.statement.rows.len(), reading.remarks.len()),
        (7, 2, 1)
    );
    assert!(matches!(reading.proof, Proof::BrokenRows { .. }), "{:?}", reading.proof);
}

#[test]
fn accounts_and_currencies_become_a_statement_each() {
    let text = "Own account,Date,Amount,Currency,Balance\nA,2024-01-31,1.00,EUR,1.00\nA,2024-01-31,5,JPY,5\nB,2024-01-31,2.00,EUR,2.00\nA,2024-01-31,1.00,EUR,2.00\n";
    let feed = read(text, &Options::default()).expect("readable");
    let told: Vec<_> = feed
        .statements
        .iter()
        .map(|s| {
            (
                s.statement.bank_account.as_str(),
                s.statement.currency.code(),
                s.rows_read,
            )
        })
        .collect();
    assert_eq!(told, [("A", "EUR", 2), ("A", "JPY", 1), ("B", "EUR", 1)]);
    assert!(feed.statements.iter().all(|statement| statement.proof == Proof::Proved));
}

#[test]
fn the_other_partys_iban_is_not_our_account() {
    let text = "Date,Payee,IBAN,Amount\n2024-01-31,Ann,DE1,1.00\n2024-01-31,Bob,DE2,1.00\n";
    assert_eq!(one(text, &euro()).statement.bank_account, "");
    assert_eq!(one(&text.replace("DE2", "DE1"), &euro()).statement.bank_account, "DE1");
}

#[test]
fn columns_may_be_named_by_heading_and_by_number() {
    let named = with(&[
        ("csv.columns.booked_on", "when"),
        ("csv.columns.amount", "3"),
        ("csv.columns.remittance", "WHAT"),
    ]);
    assert_eq!(
        rows(&one("junk\nWhen;What;How much\n13.01.2024;Rent;-4,50\n", &named)),
        ["2024-01-13 -4.50||Rent"]
    );
    let numbered = with(&[
        ("csv.columns.booked_on", "1"),
        ("csv.columns.amount", "3"),
        ("csv.skip_lines", "1"),
    ]);
    let reading = one("junk;1;2\n13.01.2024;Rent;-4,50\nx;y;z\n", &numbered);
    assert_eq!(
        (rows(&reading), reading.broken.len(), reading.broken[0].line),
        (vec!["2024-01-13 -4.50||".to_owned()], 1, 3)
    );
    let headed = one(
        "Tag;Was;Zahl\n13.01.2024;Rent;-4,50\n",
        &with(&[("csv.columns.booked_on", "1"), ("csv.columns.amount", "3")]),
    );
    assert_eq!(
        (rows(&headed), headed.rows_read),
        (vec!["2024-01-13 -4.50||".to_owned()], 1)
    );
    let without = with(&[("csv.columns.balance", "")]);
    assert_eq!(
        one("Date,Amount,Balance\n2024-01-31,1.00,7\n2024-01-31,1.00,7\n", &without).proof,
        Proof::NotStated
    );
}

#[test]
fn signs_follow_direction_fee_and_option() {
    let text = "Date,Amount,Fee,Direction\n2024-01-31,5.00,0.50,C\n2024-01-31,5.00,,debit\n2024-01-31,5.00,,up\n";
    let reading = one(text, &with(&[("csv.columns.fee", "fee")]));
    assert_eq!(rows(&reading), ["2024-01-31 4.50||", "2024-01-31 -5.00||"]);
    assert_eq!(
        (reading.broken[0].field.as_str(), reading.broken[0].problem.as_str()),
        ("Direction", "'up' says neither debit nor credit")
    );
    let turned = one(
        "Date,Amount,Balance\n2024-01-31,5.00,5.00\n",
        &with(&[("csv.invert_sign", "true")]),
    );
    assert_eq!(
        (rows(&turned), turned.proof),
        (vec!["2024-01-31 -5.00||".to_owned()], Proof::Proved)
    );
}

#[test]
fn what_cannot_be_told_is_asked_for() {
    let failed = |text: &str, options: &Options| read(text, options).expect_err("must be refused");
    assert_eq!(
        failed("Date,Amount\n01/02/2024,1.00\n", &euro()),
        StatementError::AmbiguousDate {
            example: "01/02/2024".into()
        }
    );
    assert_eq!(
        rows(&one(
            "Date,Amount\n01/02/2024,1.00\n",
            &with(&[("csv.date_format", "MM/DD/YYYY")])
        )),
        ["2024-01-02 1.00||"]
    );
    let kuwait = Options {
        currency: "KWD".parse().ok(),
        ..Options::default()
    };
    assert_eq!(
        failed("Date,Amount\n2024-01-31,\"1,234\"\n", &kuwait),
        StatementError::AmbiguousDecimal {
            example: "1,234".into()
        }
    );
    assert_eq!(
        failed("Date,Amount\n2024-01-31,1.00\n", &Options::default()),
        StatementRefusal::NoCurrency.into()
    );
    assert_eq!(
        failed("Date,Text\n2024-01-31,x\n", &euro()),
        StatementError::NoColumn { wanted: "amount" }
    );
    assert_eq!(
        failed("a,b\n1,2\n", &euro()),
        StatementError::NoColumn { wanted: "booking date" }
    );
    assert_eq!(failed("just words\n", &euro()), StatementError::UnknownFormat);
    assert!(matches!(
        failed("Date,Amount\n2024-01-31,1\n", &with(&[("csv.delimiter", "ab")])),
        StatementError::Option(_)
    ));
}

#[test]
fn delimiters_are_told_from_the_headings_or_stated() {
    for delimiter in [",", ";", "\t", "|"] {
        let text = ["Date", "Amount\n2024-01-31", "\"-1.00\"\n"].join(delimiter);
        assert_eq!(rows(&one(&text, &euro())), ["2024-01-31 -1.00||"], "{text}");
    }
    assert_eq!(one("sep=:\nDate:Amount\n2024-01-31:x\n", &euro()).broken[0].line, 3);
    assert_eq!(
        rows(&one("Date~Amount\n2024-01-31~1\n", &with(&[("csv.delimiter", "~")]))),
        ["2024-01-31 1.00||"]
    );
}

#[test]
fn valuta_is_a_date_in_german_and_a_currency_in_dutch() {
    let german = one("Buchungstag;Valuta;Betrag\n30.01.2024;31.01.2024;1,00\n", &euro());
    assert!(german.statement.rows[0].value_on.is_some());
    let dutch = one("Datum;Valuta;Bedrag\n30.01.2024;SEK;1,00\n", &euro());
    assert_eq!(
        (dutch.statement.currency.code(), dutch.statement.rows[0].value_on),
        ("SEK", None)
    );
}

#[test]
fn the_currency_beside_an_amount_counts() {
    let text = "Date,Amount\n2024-01-31,-4.50 PLN\n2024-01-31,5\n";
    let reading = one(text, &euro());
    assert_eq!((reading.statement.currency.code(), reading.rows_read), ("PLN", 2));
    let headed = one("Date,Amount (USD)\n2024-01-31,5.00 USD\n", &euro());
    assert_eq!(headed.statement.currency.code(), "USD");
    let odd = one("Date,Amount,Currency\n2024-01-31,5.00 USD,EUR\n", &euro());
    assert_eq!(odd.broken[0].problem, "the amount is in USD, the account in EUR");
}

#[test]
fn of_two_columns_of_words_the_one_with_words_counts() {
    let text = "Date,Description,Amount,Memo\n2024-01-31,Shop,1.00,\n";
    assert_eq!(rows(&one(text, &euro())), ["2024-01-31 1.00||Shop"]);
}
