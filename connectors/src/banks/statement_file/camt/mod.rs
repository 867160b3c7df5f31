//! CAMT.052 reports, CAMT.053 statements and CAMT.054 notifications, any version.
//!
//! One row per `Ntry`, as the account is booked, however many payments a batch holds. Only booked entries are rows; pending
//! and informational ones are counted. `CdtDbtInd` is the direction of the entry as it stands: `RvslInd` says that the
//! entry undoes another, and does not turn the sign. Opening is `OPBD`, else `PRCD`; closing is `CLBD`; the interim `ITBD`
//! stands in for whichever of the two is missing, as on the pages of a long statement.
//! Source: ISO 20022 message definition report, Bank-to-Customer Cash Management.

mod xml;

use chrono::NaiveDate;
use domain::{
    Currency, Money,
    statement::{BankTransaction, Statement},
};

use self::xml::{Element, Piece, Stream};
use super::{
    FILE_ROWS_MAX, Options, StatementError,
    decimal::{amount, iso_date},
    text::{self, quote},
};
use crate::banks::{
    Feed,
    reading::{BrokenRow, Findings, RefusedStatement, StatementReading, StatementRefusal},
};

/// Is this XML a message of the bank to its customer?
pub(super) fn is_camt(text: &str) -> bool {
    ["BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn"].iter().any(|message| text.contains(message))
}

/// Reads the statements, reports or notifications of a CAMT file.
pub(super) fn read(text: &str, options: &Options) -> Result<Feed, StatementError> {
    let mut stream = Stream::new(text);
    let mut feed = Feed::default();
    let mut draft: Option<Draft> = None;
    let mut rows = 0;
    loop {
        match (stream.next()?, &mut draft) {
            (Piece::Open { name, line }, None) if is_statement(&name) => draft = Some(Draft { line, ..Draft::default() }),
            (Piece::Open { name, .. }, Some(draft)) => {
                // Whatever stands directly in a statement is taken as a tree, so that nothing deeper is mistaken for it.
                let tree = stream.tree()?;
                match name.as_str() {
                    "Acct" => draft.account = tree,
                    "Bal" => draft.balances.push(Balance::of(&tree)),
                    "Ntry" => {
                        rows += 1;
                        if rows > FILE_ROWS_MAX {
                            return Err(StatementError::TooManyRows);
                        }
                        draft.entries.push(Entry::of(&tree));
                    }
                    _ => {}
                }
            }
            (Piece::Close { name }, _) if is_statement(&name) => {
                if let Some(draft) = draft.take() {
                    draft.finish(options, &mut feed);
                }
            }
            (Piece::End, _) => return Ok(feed),
            _ => {}
        }
    }
}

fn is_statement(name: &str) -> bool {
    matches!(name, "Stmt" | "Rpt" | "Ntfctn")
}

/// A statement while its file is being read.
#[derive(Default)]
struct Draft {
    line: usize,
    account: Element,
    balances: Vec<Balance>,
    entries: Vec<Entry>,
}

/// One `Bal`, as text.
struct Balance {
    line: usize,
    code: String,
    amount: String,
    currency: String,
    direction: String,
    date: Option<NaiveDate>,
}

/// One `Ntry`, as text.
struct Entry {
    amount: Place,
    currency: String,
    direction: Place,
    status: String,
    booked: Place,
    value_on: Option<NaiveDate>,
    reference: Option<String>,
    counterparty: String,
    remittance: String,
}

/// A text and where it stands.
struct Place {
    line: usize,
    text: String,
}

impl Balance {
    fn of(tree: &Element) -> Self {
        let code = tree.text_at(&["Tp", "CdOrPrtry", "Cd"]);
        let code = if code.is_empty() { tree.text_at(&["Tp", "CdOrPrtry", "Prtry"]) } else { code };
        Self {
            line: tree.line,
            code: code.to_owned(),
            amount: tree.text_at(&["Amt"]).to_owned(),
            currency: tree.child("Amt").map_or_else(String::new, |amount| amount.currency.clone()),
            direction: tree.text_at(&["CdtDbtInd"]).to_owned(),
            date: date_of(tree.child("Dt")),
        }
    }

    /// The signed balance.
    fn money(&self, currency: Currency) -> Result<Money, String> {
        if !self.currency.is_empty() && self.currency != currency.code() {
            return Err(format!("the balance is in {}, the account in {currency}; it is left out", quote(&self.currency)));
        }
        signed(amount(&self.amount, currency)?, &self.direction)
    }
}

impl Entry {
    fn of(tree: &Element) -> Self {
        let place = |name: &str| {
            let element = tree.child(name);
            Place {
                line: element.map_or(tree.line, |element| element.line),
                text: element.map_or_else(String::new, |element| element.text.clone()),
            }
        };
        // `<Sts>BOOK</Sts>` up to version 7, `<Sts><Cd>BOOK</Cd></Sts>` from then on.
        let status = tree.text_at(&["Sts"]);
        let status = if status.is_empty() { tree.text_at(&["Sts", "Cd"]) } else { status };
        let date = tree.child("BookgDt").filter(|date| !date.children.is_empty()).or_else(|| tree.child("ValDt"));
        let direction = place("CdtDbtInd");
        let payments: Vec<&Element> =
            tree.children_of("NtryDtls").flat_map(|details| details.children_of("TxDtls")).collect();
        let is_reversal = matches!(tree.text_at(&["RvslInd"]), "true" | "1");
        Self {
            amount: place("Amt"),
            currency: tree.child("Amt").map_or_else(String::new, |amount| amount.currency.clone()),
            status: status.to_owned(),
            booked: Place {
                line: date.map_or(tree.line, |date| date.line),
                text: date.map_or_else(String::new, |date| date_text(date).to_owned()),
            },
            value_on: date_of(tree.child("ValDt")),
            reference: reference(tree, &payments),
            // Who is on the other side of a reversal is who was on the other side of what it undoes.
            counterparty: counterparty(&payments, (direction.text == "CRDT") != is_reversal),
            remittance: remittance(tree, &payments),
            direction,
        }
    }

    /// Final with the bank? An entry that does not say so stands in a list of booked ones.
    fn is_booked(&self) -> bool {
        matches!(self.status.as_str(), "" | "BOOK")
    }

    fn row(self, currency: Currency) -> Result<BankTransaction, BrokenRow> {
        let broken = |line, field: &str, problem, amount| BrokenRow { line, field: field.to_owned(), problem, amount };
        if !self.currency.is_empty() && self.currency != currency.code() {
            let problem = format!("the entry is in {}, the account in {currency}", quote(&self.currency));
            return Err(broken(self.amount.line, "Amt/Ccy", problem, None));
        }
        let unsigned = amount(&self.amount.text, currency);
        let unsigned = unsigned.map_err(|problem| broken(self.amount.line, "Amt", problem, None))?;
        let amount = signed(unsigned, &self.direction.text);
        let amount = amount.map_err(|problem| broken(self.direction.line, "CdtDbtInd", problem, None))?;
        let Some(booked_on) = iso_date(&self.booked.text) else {
            let problem = match self.booked.text.as_str() {
                "" => "there is no date".to_owned(),
                text => format!("'{}' is not a date", quote(text)),
            };
            return Err(broken(self.booked.line, "BookgDt", problem, Some(amount)));
        };
        let Self { value_on, reference, counterparty, remittance, .. } = self;
        Ok(BankTransaction { booked_on, value_on, amount, reference, counterparty, remittance, category: None })
    }
}

impl Draft {
    fn finish(self, options: &Options, feed: &mut Feed) {
        let id = self.account.child("Id");
        let bank_account = id.map_or("", |id| match id.text_at(&["IBAN"]) {
            "" => id.text_at(&["Othr", "Id"]),
            iban => iban,
        });
        let bank_account = text::clean(bank_account, text::BANK_ACCOUNT_CHARS_MAX);
        match self.currency(options) {
            Ok(currency) => feed.statements.push(self.finish_in(currency, bank_account)),
            Err(refusal) => feed.refused.push(RefusedStatement { line: self.line, bank_account, refusal }),
        }
    }

    /// The account's currency; when it is not stated, that of the booked balances, then of the entries.
    fn currency(&self, options: &Options) -> Result<Currency, StatementRefusal> {
        let stated = self.account.text_at(&["Ccy"]);
        let of_balance = |code: &str| self.balance(code).map(|balance| balance.currency.as_str());
        let balances = ["OPBD", "PRCD", "CLBD", "ITBD"].into_iter().filter_map(of_balance);
        let booked = self.entries.iter().filter(|entry| entry.is_booked()).map(|entry| entry.currency.as_str());
        let pending = self.entries.iter().map(|entry| entry.currency.as_str());
        let mut codes = std::iter::once(stated).chain(balances).chain(booked);
        let code = codes.find(|code| !code.is_empty());
        let code = code.or_else(|| pending.into_iter().find(|code| options.currency.is_none() && !code.is_empty()));
        match code {
            Some(code) => code.parse().map_err(|_| StatementRefusal::UnknownCurrency { code: quote(code) }),
            None => options.currency.ok_or(StatementRefusal::NoCurrency),
        }
    }

    fn balance(&self, code: &str) -> Option<&Balance> {
        self.balances.iter().find(|balance| balance.code == code)
    }

    fn finish_in(self, currency: Currency, bank_account: String) -> StatementReading {
        let mut found = Findings { line: self.line, ..Findings::default() };
        let interim: Vec<&Balance> = self.balances.iter().filter(|balance| balance.code == "ITBD").collect();
        let stated_opening = self.balance("OPBD").or_else(|| self.balance("PRCD"));
        let stated_closing = self.balance("CLBD");
        let opening = stated_opening.or_else(|| interim.first().copied().filter(|_| stated_closing.is_some() || interim.len() > 1));
        let closing = stated_closing.or_else(|| interim.last().copied());
        let closing_on = closing.and_then(|balance| balance.date);
        let mut money = |balance: Option<&Balance>| {
            let balance = balance?;
            let field = format!("Bal/{}", balance.code);
            balance.money(currency).map_err(|problem| found.remark(balance.line, field, problem)).ok()
        };
        let (opening, closing) = (money(opening), money(closing));
        let closing_on = closing.and(closing_on);
        let mut rows = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            if !entry.is_booked() {
                found.pending += 1;
                continue;
            }
            match entry.row(currency) {
                Ok(row) => rows.push(row),
                Err(broken) => found.broken.push(broken),
            }
        }
        StatementReading::of(Statement { bank_account, currency, opening, closing, closing_on, rows }, found)
    }
}

fn signed(unsigned: Money, direction: &str) -> Result<Money, String> {
    match direction {
        "CRDT" => Ok(unsigned),
        "DBIT" => Ok(unsigned.negated()),
        other => Err(format!("'{}' is neither CRDT nor DBIT", quote(other))),
    }
}

fn date_of(element: Option<&Element>) -> Option<NaiveDate> {
    iso_date(date_text(element?))
}

/// `Dt` or `DtTm`, or the element's own text in home-made files.
fn date_text(element: &Element) -> &str {
    let children = ["Dt", "DtTm"].into_iter().map(|name| element.text_at(&[name]));
    children.chain([element.text.as_str()]).find(|text| !text.is_empty()).unwrap_or("")
}

/// The account servicer's reference of the entry, else the entry's own, else that of its only payment.
fn reference(entry: &Element, payments: &[&Element]) -> Option<String> {
    let of_payment = match payments {
        [payment] => payment.text_at(&["Refs", "AcctSvcrRef"]),
        _ => "",
    };
    let candidates = [entry.text_at(&["AcctSvcrRef"]), entry.text_at(&["NtryRef"]), of_payment];
    candidates.into_iter().find_map(|candidate| text::clean_some(candidate, text::REFERENCE_CHARS_MAX))
}

/// The other side's names, each once: the debtors of money that came in, the creditors of money that went out.
fn counterparty(payments: &[&Element], is_from_debtor: bool) -> String {
    let sides: &[&str] = if is_from_debtor { &["Dbtr", "UltmtDbtr"] } else { &["Cdtr", "UltmtCdtr"] };
    let name = |payment: &Element| -> Option<String> {
        let parties = payment.child("RltdPties")?;
        // `Dbtr/Nm` up to version 7, `Dbtr/Pty/Nm` from then on.
        let names = sides.iter().flat_map(|side| [parties.text_at(&[side, "Nm"]), parties.text_at(&[side, "Pty", "Nm"])]);
        names.into_iter().find(|name| !name.is_empty()).map(str::to_owned)
    };
    joined(payments.iter().filter_map(|payment| name(payment)), ", ", text::COUNTERPARTY_CHARS_MAX)
}

/// What the payer wrote; else the structured references; else the bank's own words.
fn remittance(entry: &Element, payments: &[&Element]) -> String {
    let info = || payments.iter().flat_map(|payment| payment.children_of("RmtInf"));
    let unstructured = info().flat_map(|info| info.children_of("Ustrd")).map(|text| text.text.clone());
    let structured = info().flat_map(|info| info.children_of("Strd"));
    let references = structured.map(|structured| structured.text_at(&["CdtrRefInf", "Ref"]).to_owned());
    let words = payments.iter().map(|payment| payment.text_at(&["AddtlTxInf"]).to_owned());
    let own = std::iter::once(entry.text_at(&["AddtlNtryInf"]).to_owned());
    let max = text::REMITTANCE_CHARS_MAX;
    let texts = [joined(unstructured, " ", max), joined(references, " ", max), joined(words, " ", max), joined(own, " ", max)];
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Texts joined, each once, up to a number of characters.
fn joined(texts: impl Iterator<Item = String>, separator: &str, chars_max: usize) -> String {
    let mut seen = std::collections::HashSet::new();
    let mut joined = String::new();
    for text in texts {
        if joined.len() > chars_max * 4 {
            break;
        }
        if !text.is_empty() && seen.insert(text.clone()) {
            joined.push_str(if joined.is_empty() { "" } else { separator });
            joined.push_str(&text);
        }
    }
    text::clean(&joined, chars_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inside: &str) -> String {
        format!("<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>{inside}</BkToCstmrStmt></Document>")
    }

    fn statement(account: &str, inside: &str) -> StatementReading {
        let text = document(&format!("<Stmt><Acct><Id><IBAN>DE1</IBAN></Id>{account}</Acct>{inside}</Stmt>"));
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
            .map(|row| format!("{} {} {} {:?} {}", row.booked_on, row.amount, row.counterparty, row.reference, row.remittance))
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
        let end = |amount: &str, code: &str| balance(code, &format!("<Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>"));
        let proved = statement("", &format!("{start}{}{rows}", end("8.50", "CLBD")));
        assert_eq!(proved.proof, crate::banks::proof::Proof::Proved);
        assert_eq!(proved.statement.closing_on.map(|day| day.to_string()).as_deref(), Some("2024-01-31"));
        assert!(statement("", &format!("{start}{}{rows}", end("8.51", "CLBD"))).proof.is_failed());
        assert!(statement("", &format!("{start}{}{rows}", end("8.51", "ITBD"))).proof.is_failed());
        assert_eq!(statement("", &format!("{start}{rows}")).proof, crate::banks::proof::Proof::NotStated);
    }

    #[test]
    fn what_is_in_another_currency_is_named() {
        let foreign = "<Amt Ccy=\"SEK\">1.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>";
        let reading = statement("<Ccy>EUR</Ccy>", &format!("{}\n<Ntry>{foreign}{DAY}</Ntry><Ntry>{IN}{DAY}</Ntry>", balance("CLBD", foreign)));
        assert_eq!((reading.rows_read, reading.statement.rows.len(), reading.statement.closing), (2, 1, None));
        assert_eq!((reading.broken[0].line, reading.broken[0].field.as_str()), (2, "Amt/Ccy"));
        assert_eq!(reading.remarks[0].problem, "the balance is in SEK, the account in EUR; it is left out");
    }

    #[test]
    fn a_broken_entry_is_named_and_nothing_else_is_lost() {
        let broken = "\n<Ntry><Amt Ccy=\"EUR\">x</Amt><CdtDbtInd>DBIT</CdtDbtInd></Ntry><Ntry>\n<Amt Ccy=\"EUR\">1</Amt><CdtDbtInd>UP</CdtDbtInd></Ntry>";
        let undated = format!("<Ntry>{IN}<BookgDt><Dt>31.1.2024</Dt></BookgDt></Ntry><Ntry>{IN}</Ntry>");
        let reading = statement("", &format!("{broken}{undated}<Ntry>{IN}{DAY}</Ntry>"));
        let named: Vec<_> = reading.broken.iter().map(|row| (row.line, row.field.as_str(), row.problem.as_str())).collect();
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
        assert_eq!(read(&text, &Options::default()).expect("readable").refused[0].refusal, StatementRefusal::NoCurrency);
        let options = Options { currency: "EUR".parse().ok(), ..Options::default() };
        assert_eq!(read(&text, &options).expect("readable").statements.len(), 1);
        let unknown = document("<Stmt><Acct><Ccy>DEM</Ccy></Acct></Stmt>");
        let refusal = &read(&unknown, &options).expect("readable").refused[0].refusal;
        assert_eq!(*refusal, StatementRefusal::UnknownCurrency { code: "DEM".into() });
    }
}
