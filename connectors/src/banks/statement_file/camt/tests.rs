//! CAMT files of several versions.

use super::*;

fn document(inside: &str) -> String {
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>{inside}</BkToCstmrStmt></Document>"
    )
}

fn statement(account: &str, inside: &str) -> StatementReading {
    let text = document(&format!(
        "<Stmt><Acct><Id><IBAN>DE1</IBAN></Id>{account}</Acct>{inside}</Stmt>"
    ));
    read(&text, &Options::default()).expect("readable").statements.remove(0)
}

fn balance(code: &str, amount: &str) -> String {
    format!("<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{amount}<Dt><Dt>2024-01-31</Dt></Dt></Bal>")
}

const IN: &str = "<Amt Ccy=\"EUR\">2.50</Amt><CdtDbtInd>CRDT</CdtDbtInd>";
const OUT: &str = "<Amt Ccy=\"EUR\">4</Amt><CdtDbtInd>DBIT</CdtDbtInd>";
const DAY: &str = "<BookgDt><DtTm>2024-01-30T23:59:59-05:00</DtTm></BookgDt>";

#[test]
fn entries_take_their_sign_side_and_texts() {
    let parties = "<NtryDtls><TxDtls><RltdPties><Dbtr><Pty><Nm>Ann</Nm></Pty></Dbtr><Cdtr><Nm>Bob</Nm></Cdtr></RltdPties>\
        <RmtInf><Ustrd>a</Ustrd><Ustrd>b</Ustrd></RmtInf></TxDtls></NtryDtls>";
    let rows = format!(
        "<Ntry>{IN}<Sts><Cd>BOOK</Cd></Sts>{DAY}<AcctSvcrRef>r1</AcctSvcrRef>{parties}</Ntry>\
         <Ntry>{OUT}<Sts>BOOK</Sts><ValDt><Dt>2024-01-31</Dt></ValDt>{parties}</Ntry>\
         <Ntry>{IN}<RvslInd>true</RvslInd>{DAY}<NtryRef>n3</NtryRef>{parties}</Ntry>\
         <Ntry>{IN}<Sts>PDNG</Sts>{DAY}</Ntry>"
    );
    let reading = statement("<Ccy>EUR</Ccy>", &rows);
    let told: Vec<String> = reading
        .statement
        .rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {:?} {}",
                row.booked_on, row.amount, row.counterparty, row.reference, row.remittance
            )
        })
        .collect();
    let wanted = [
        "2024-01-30 2.50 EUR Ann Some(\"r1\") a b",
        "2024-01-31 -4.00 EUR Bob None a b",
        "2024-01-30 2.50 EUR Bob Some(\"n3\") a b",
    ];
    assert_eq!(told, wanted);
    assert_eq!((reading.rows_read, reading.pending), (3, 1));
}

#[test]
fn opening_and_closing_are_proved() {
    let rows = format!("<Ntry>{IN}{DAY}</Ntry><Ntry>{OUT}{DAY}</Ntry>");
    let start = balance("PRCD", "<Amt Ccy=\"EUR\">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>");
    let end = |amount: &str, code: &str| {
        balance(
            code,
            &format!("<Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>"),
        )
    };
    let proved = statement("", &format!("{start}{}{rows}", end("8.50", "CLBD")));
    assert_eq!(proved.proof, crate::banks::proof::Proof::Proved);
    assert_eq!(
        proved.statement.closing_on.map(|day| day.to_string()).as_deref(),
        Some("2024-01-31")
    );
    assert!(
        statement("", &format!("{start}{}{rows}", end("8.51", "CLBD")))
            .proof
            .is_failed()
    );
    assert!(
        statement("", &format!("{start}{}{rows}", end("8.51", "ITBD")))
            .proof
            .is_failed()
    );
    assert_eq!(
        statement("", &format!("{start}{rows}")).proof,
        crate::banks::proof::Proof::NotStated
    );
}

#[test]
fn what_is_in_another_currency_is_named() {
    let foreign = "<Amt Ccy=\"SEK\">1.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>";
    let reading = statement(
        "<Ccy>EUR</Ccy>",
        &format!(
            "{}\n<Ntry>{foreign}{DAY}</Ntry><Ntry>{IN}{DAY}</Ntry>",
            balance("CLBD", foreign)
        ),
    );
    assert_eq!(
        (
            reading.rows_read,
            reading.statement.rows.len(),
            reading.statement.closing
        ),
        (2, 1, None)
    );
    assert_eq!(
        (reading.broken[0].line, reading.broken[0].field.as_str()),
        (2, "Amt/Ccy")
    );
    assert_eq!(
        reading.remarks[0].problem,
        "the balance is in SEK, the account in EUR; it is left out"
    );
}

#[test]
fn a_broken_entry_is_named_and_nothing_else_is_lost() {
    let broken = "\n<Ntry><Amt Ccy=\"EUR\">x</Amt><CdtDbtInd>DBIT</CdtDbtInd></Ntry><Ntry>\n<Amt Ccy=\"EUR\">1</Amt><CdtDbtInd>UP</CdtDbtInd></Ntry>";
    let undated = format!("<Ntry>{IN}<BookgDt><Dt>31.1.2024</Dt></BookgDt></Ntry><Ntry>{IN}</Ntry>");
    let reading = statement("", &format!("{broken}{undated}<Ntry>{IN}{DAY}</Ntry>"));
    let named: Vec<_> = reading
        .broken
        .iter()
        .map(|row| (row.line, row.field.as_str(), row.problem.as_str()))
        .collect();
    let wanted = [
        (2, "Amt", "'x' is not an amount"),
        (3, "CdtDbtInd", "'UP' is neither CRDT nor DBIT"),
        (3, "BookgDt", "'31.1.2024' is not a date"),
        (3, "BookgDt", "there is no date"),
    ];
    assert_eq!(named, wanted);
    assert_eq!(reading.statement.rows.len(), 1);
}

#[test]
fn a_statement_without_any_currency_takes_the_one_it_is_given() {
    let text = document("<Stmt><Acct/></Stmt>");
    assert_eq!(
        read(&text, &Options::default()).expect("readable").refused[0].refusal,
        StatementRefusal::NoCurrency
    );
    let options = Options {
        currency: "EUR".parse().ok(),
        ..Options::default()
    };
    assert_eq!(read(&text, &options).expect("readable").statements.len(), 1);
    let unknown = document("<Stmt><Acct><Ccy>DEM</Ccy></Acct></Stmt>");
    let refusal = &read(&unknown, &options).expect("readable").refused[0].refusal;
    assert_eq!(*refusal, StatementRefusal::UnknownCurrency { code: "DEM".into() });
}
