#![allow(clippy::unwrap_used)]
//! probe
use connectors::banks::statement_file::*;
#[test]
fn probe() {
    let list = std::env::var("PROBE").unwrap();
    for path in list.split_whitespace() {
        let bytes = std::fs::read(path).unwrap();
        let options = Options { currency: std::env::var("CUR").ok().and_then(|c| c.parse().ok()), ..Options::default() };
        print!("{path}: ");
        match read(&bytes, &options) {
            Err(e) => println!("ERR {e}"),
            Ok(r) => {
                println!("{:?} statements={} refused={:?}", r.format, r.statements.len(), r.refused.iter().map(|r| (r.line, r.refusal.to_string())).collect::<Vec<_>>());
                for s in &r.statements {
                    println!("   {} {:?} {} rows={} read={} pend={} {:?}..{:?} open={:?} close={:?} {:?} proof={:?}", s.line, s.statement.bank_account, s.statement.currency, s.statement.rows.len(), s.rows_read, s.pending, s.first_on, s.last_on, s.statement.opening, s.statement.closing, s.statement.closing_on, s.proof);
                    for b in &s.broken { println!("      BROKEN {} {} {}", b.line, b.field, b.problem); }
                    for b in &s.remarks { println!("      remark {} {} {}", b.line, b.field, b.problem); }
                    if std::env::var("ROWS").is_ok() { for b in s.statement.rows.iter().take(12) { println!("      {} {:?} {} | {} | {} | {:?} {:?}", b.booked_on, b.value_on.map(|d| d.to_string()), b.amount, b.counterparty, b.remittance, b.reference, b.category); } }
                }
                for s in join_by_account(r.statements) { println!("   joined {} {:?} rows={} {:?} -> {:?} {:?}", s.line, s.statement.bank_account, s.statement.rows.len(), s.statement.opening, s.statement.closing, s.proof); }
            }
        }
    }
}
