//! Bank statements: a file is a proof, comes in once, and can be taken back.

use serde_json::json;

use crate::support::{Household, Kinledger, dec};

/// A bank's download in March: two equal payments on one day are two payments.
pub const MARCH: &str = "OFXHEADER:100\r
DATA:OFXSGML\r
VERSION:102\r
SECURITY:NONE\r
ENCODING:USASCII\r
CHARSET:1252\r
COMPRESSION:NONE\r
OLDFILEUID:NONE\r
NEWFILEUID:NONE\r
\r
<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS><DTSERVER>20250331<LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1>
<BANKMSGSRSV1><STMTTRNRS><TRNUID>1<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>EUR
<BANKACCTFROM><BANKID>0035<ACCTID>9001<ACCTTYPE>CHECKING</BANKACCTFROM><BANKTRANLIST><DTSTART>20250301<DTEND>20250331
<STMTTRN><TRNTYPE>CREDIT<DTPOSTED>20250301<TRNAMT>1500.00<FITID>m-1<NAME>Harbour Works<MEMO>Wages</STMTTRN>
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250305<TRNAMT>-4.20<FITID>m-2<NAME>Kiosk</STMTTRN>
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250305<TRNAMT>-4.20<FITID>m-3<NAME>Kiosk</STMTTRN>
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250320<TRNAMT>-61.15<FITID>m-4<NAME>Water company</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>1730.45<DTASOF>20250331</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
";

/// The same days as a spreadsheet with decimal commas, and the first days of April.
pub const APRIL: &str = "Date;Payee;Category;Amount;Balance
20.03.2025;Water company;Utilities;-61,15;1730,45
02.04.2025;Greengrocer;Groceries;-18,90;1711,55
03.04.2025;Greengrocer;Groceries;-18,90;1692,65
";

#[test]
fn statements_come_in_once_and_can_be_taken_back() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Almeidas", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));

    let march = family.import(&account, MARCH.as_bytes()).accepted();
    assert_eq!((&march["rows_booked"], &march["rows_known"]), (&json!(4), &json!(0)));
    assert_eq!(
        family.balance(&account),
        dec("1730.45"),
        "the balance is the bank's, its opening included"
    );
    let events = family.events().len();

    let again = family.import(&account, MARCH.as_bytes()).accepted();
    assert_eq!((&again["rows_booked"], &again["rows_known"]), (&json!(0), &json!(4)));
    assert_eq!(family.balance(&account), dec("1730.45"));
    let new: Vec<_> = family.events().split_off(events);
    assert!(
        new.iter().all(|event| event["aggregate_type"] != "entry"),
        "the second import books nothing: {new:?}"
    );

    let april = family.import(&account, APRIL.as_bytes()).accepted();
    assert_eq!(
        (&april["rows_booked"], &april["rows_known"]),
        (&json!(2), &json!(1)),
        "OFX and CSV meet in the overlap"
    );
    assert_eq!(family.balance(&account), dec("1692.65"));
    let spent = family.view(&family.parent, "spending?from=2025-04-01&to=2025-04-30");
    assert_eq!(spent["categories"][0]["category"], "Groceries");
    assert_eq!(spent["categories"][0]["spent"]["amount"], "37.80");

    let undone = json!({"import_id": april["import_id"]});
    family.accepted(&family.partner, "undo-import", &undone);
    assert_eq!(family.balance(&account), dec("1730.45"));
    assert_eq!(family.refused(&family.partner, "undo-import", &undone).0, 422);
    let imports = family.view(&family.parent, "imports");
    assert_eq!(imports["imports"][0]["is_undone"], true);

    let april = family.import(&account, APRIL.as_bytes()).accepted();
    assert_eq!(april["rows_booked"], 2, "taken back, it comes in again");
    assert_eq!(family.balance(&account), dec("1692.65"));
    assert_eq!(family.audit("verify")["verified"], true);
}

#[test]
fn a_statement_that_does_not_add_up_is_refused_whole() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Nunes", "EUR");
    let account = family.open_account(&json!({"name": "Giro", "kind": "bank"}));
    family.import(&account, MARCH.as_bytes()).accepted();
    let before = family.export();

    let wrong_sum = APRIL.replace("1692,65", "1692,66");
    assert_eq!(family.import(&account, wrong_sum.as_bytes()).refused().0, 422);
    let broken_row = APRIL.replace("03.04.2025", "33.04.2025");
    let refused = family.import(&account, broken_row.as_bytes());
    assert_eq!(refused.refused().0, 422);
    assert_eq!(refused.json()["broken_rows"][0]["line"], 4, "{}", refused.text());
    let dollars = MARCH.replace("<CURDEF>EUR", "<CURDEF>USD");
    assert_eq!(family.import(&account, dollars.as_bytes()).refused().0, 422);
    for file in [
        "",
        "what is this",
        "OFXHEADER:100\n<OFX>",
        "<?xml version=\"1.0\"?><Document/>",
    ] {
        assert_eq!(family.import(&account, file.as_bytes()).refused().0, 422, "{file}");
    }

    assert_eq!(
        family.export(),
        before,
        "nothing was booked, nor anything else recorded"
    );
}
