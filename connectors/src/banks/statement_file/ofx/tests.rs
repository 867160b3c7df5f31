//! OFX files of many makes.

use super::*;

fn feed(text: &str) -> Feed {
    read(text, &Options::default()).expect("readable")
}

const BANK: &str = "OFXHEADER:100\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STATUS><CODE>0<SEVERITY>INFO</STATUS>\n\
    <STMTRS><CURDEF>CAD<BANKACCTFROM><BANKID>1<ACCTID>12 34<ACCTTYPE>CHECKING</BANKACCTFROM>\n<BANKTRANLIST>";

#[test]
fn an_sgml_statement_with_unclosed_and_empty_tags_is_read() {
    let text = format!(
        "{BANK}<STMTTRN><TRNTYPE>POS<DTPOSTED>20090401122017.000[-5:EST]<TRNAMT>-6,60<FITID>7<NAME><MEMO>Joe &amp; Son's R&B\n\
         <STMTTRN><DTPOSTED>20090402<TRNAMT>+0012.5<NAME>Caf&#233;<PAYEE><NAME>Other</PAYEE></STMTTRN>\n\
         </BANKTRANLIST><LEDGERBAL><BALAMT>382.34<DTASOF>20090523122017</LEDGERBAL><AVAILBAL><BALAMT>9</AVAILBAL></STMTRS></OFX>"
    );
    let feed = feed(&text);
    let statement = &feed.statements[0].statement;
    assert_eq!(
        (statement.bank_account.as_str(), statement.currency.code()),
        ("12 34", "CAD")
    );
    assert_eq!(
        statement.closing.map(|money| money.to_string()).as_deref(),
        Some("382.34 CAD")
    );
    assert_eq!(
        statement.closing_on.map(|day| day.to_string()).as_deref(),
        Some("2009-05-23")
    );
    let told: Vec<String> = statement
        .rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {}|{}|{:?}",
                row.booked_on, row.amount, row.counterparty, row.remittance, row.reference
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "2009-04-01 -6.60 CAD |Joe & Son's R&B|Some(\"7\")",
            "2009-04-02 12.50 CAD Café||None"
        ]
    );
}

#[test]
fn a_broken_row_is_named_and_nothing_else_is_lost() {
    let text = format!(
        "{BANK}\n<STMTTRN>\n<DTPOSTED>201120000000</DTPOSTED>\n<TRNAMT>$120</TRNAMT></STMTTRN>\n\
         <STMTTRN><DTPOSTED>20110401<TRNAMT>1</STMTTRN><STMTTRN><DTPOSTED>20110401<TRNAMT>1<CURRENCY><CURSYM>USD</CURRENCY></STMTTRN>"
    );
    let reading = &feed(&text).statements[0];
    assert_eq!((reading.rows_read, reading.statement.rows.len()), (3, 1));
    let named: Vec<_> = reading
        .broken
        .iter()
        .map(|row| (row.line, row.field.as_str(), row.problem.as_str()))
        .collect();
    let both = "'201120000000' is not a date; TRNAMT: '$120' is not an amount";
    assert_eq!(
        named,
        [
            (7, "DTPOSTED", both),
            (9, "CURSYM", "the row is in USD, the account in CAD")
        ]
    );
}

#[test]
fn the_banks_own_error_is_told() {
    let sign_on = "<OFX><SONRS><STATUS><CODE>15500<SEVERITY>ERROR<MESSAGE>Sign on invalid</STATUS></SONRS></OFX>";
    let error = StatementRefusal::BankError {
        code: "15500".into(),
        message: "Sign on invalid".into(),
    };
    assert_eq!(read(sign_on, &Options::default()), Err(error.into()));
    let one_of_two = format!("{BANK}</STMTRS><STMTTRNRS>\n<STATUS><CODE>2000<SEVERITY>ERROR</STATUS></STMTTRNRS>");
    let feed = feed(&one_of_two);
    assert_eq!(
        (feed.statements.len(), feed.refused.len(), feed.refused[0].line),
        (1, 1, 6)
    );
}

#[test]
fn a_statement_in_no_currency_in_use_is_refused() {
    let feed = feed(&BANK.replace("CAD", "DEM"));
    assert_eq!(
        feed.refused[0].refusal,
        StatementRefusal::UnknownCurrency { code: "DEM".into() }
    );
    assert_eq!(feed.refused[0].bank_account, "12 34");
    let no_currency = BANK.replace("<CURDEF>CAD", "");
    assert_eq!(
        read(&no_currency, &Options::default()).expect("readable").refused[0].refusal,
        StatementRefusal::NoCurrency
    );
    let options = Options {
        currency: "EUR".parse().ok(),
        ..Options::default()
    };
    assert_eq!(read(&no_currency, &options).expect("readable").statements.len(), 1);
}

#[test]
fn pending_rows_and_trades_are_told_and_left_out() {
    let text = "<OFX><INVSTMTRS><CURDEF>USD<INVTRANLIST><BUYSTOCK><INVBUY><INVTRAN><FITID>1</INVTRAN></INVBUY></BUYSTOCK>\
        <INVBANKTRAN><STMTTRN><DTPOSTED>20240131<TRNAMT>5.0000</STMTTRN></INVBANKTRAN></INVTRANLIST></INVSTMTRS>\
        <STMTRS><CURDEF>USD<BANKTRANLISTP><STMTTRNP><DTTRAN>20240131<TRNAMT>1</STMTTRNP></BANKTRANLISTP></STMTRS></OFX>";
    let feed = feed(text);
    let (invested, bank) = (&feed.statements[0], &feed.statements[1]);
    assert_eq!((invested.rows_read, invested.remarks.len()), (1, 1));
    assert_eq!((bank.rows_read, bank.pending), (0, 1));
}

#[test]
fn the_list_of_aggregates_is_sorted() {
    assert!(AGGREGATES.is_sorted());
}
