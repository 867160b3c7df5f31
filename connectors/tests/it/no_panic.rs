//! Whatever the bytes, the readers answer: with statements whose texts and numbers keep their bounds, or with an error.

use connectors::banks::statement_file::{
    FILE_BYTES_MAX, FILE_ROWS_MAX, Options, StatementError, join_by_account, prove, read,
};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    "OFXHEADER:100\nCHARSET:1252\n\n<OFX><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS></SONRS><STMTTRNRS><STMTRS><CURDEF>EUR<BANKACCTFROM><ACCTID>1</BANKACCTFROM>\
     <BANKTRANLIST><STMTTRN><DTPOSTED>20240131<TRNAMT>-1,50<FITID>1<NAME>A &amp; B<MEMO>x</STMTTRN></BANKTRANLIST><LEDGERBAL><BALAMT>1</LEDGERBAL></STMTRS></OFX>",
    "Konto;DE89370400440532013000\n\nBuchungstag;Valuta;Beguenstigter;Verwendungszweck;Betrag;Saldo;Waehrung\n\
     31.01.2024;31.01.2024;\"Ann\";\"Rent \"\"Jan\"\"\";-1.234,50;1,00;EUR\n01.02.24;;Bob;;5,00-;-4,00;EUR\n",
    "<?xml version=\"1.0\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\"><BkToCstmrStmt><Stmt><Acct><Id><IBAN>DE1</IBAN></Id><Ccy>EUR</Ccy></Acct>\
     <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">1</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2024-01-31</Dt></Dt></Bal>\
     <Ntry><Amt Ccy=\"EUR\">1.50</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2024-01-31</Dt></BookgDt><NtryDtls><TxDtls><RltdPties><Cdtr><Nm>A&amp;B</Nm>\
     </Cdtr></RltdPties><RmtInf><Ustrd>x</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry></Stmt></BkToCstmrStmt></Document>",
    "{1:F01X}{4:\n:20:1\n:25:NL1\n:28C:1/1\n:60F:C240130EUR1,\n:61:2401310131DR1,50NTRFNONREF//7\nmore\n:86:166?00X?20EREF+1?21SVWZ+Rent?32Ann\n\
     :61:240131RC,5NTRF\n:86:/NAME/Ann/REMI/x\n:62F:D240131EUR1,\n-}{5:}",
];

/// Reads with a currency and without, and checks what must hold of every reading.
fn check(bytes: &[u8]) {
    let with = Options::from_pairs([
        ("currency", "KWD"),
        ("csv.columns.booked_on", "1"),
        ("csv.columns.amount", "2"),
    ])
    .expect("options");
    for options in [Options::default(), with] {
        let Ok(reading) = read(bytes, &options) else { continue };
        assert!(!reading.statements.is_empty());
        for statement in reading
            .statements
            .iter()
            .chain(&join_by_account(reading.statements.clone()))
        {
            assert_eq!(
                statement.rows_read,
                statement.statement.rows.len() + statement.broken.len()
            );
            let _ = prove(&statement.statement);
            for row in &statement.statement.rows {
                assert_eq!(row.amount.currency(), statement.statement.currency);
                let texts = [
                    (Some(&row.counterparty), 200),
                    (Some(&row.remittance), 500),
                    (row.reference.as_ref(), 255),
                    (row.category.as_ref(), 120),
                ];
                for (text, chars_max) in texts.into_iter().filter_map(|(text, max)| Some((text?, max))) {
                    assert!(
                        text.chars().count() <= chars_max && !text.contains(char::is_control),
                        "{text:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn damaged_files_are_answered(
        seed in prop::sample::select(SEEDS),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0_u8..5), 1..8),
    ) {
        let mut bytes = seed.as_bytes().to_vec();
        for (place, other, byte, kind) in damages {
            let (at, to) = (place.index(bytes.len().max(1)), other.index(bytes.len().max(1)));
            match kind {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if !bytes.is_empty() => bytes[at] = byte,
                3 => { bytes.drain(at.min(to)..at.max(to).min(bytes.len())); }
                _ => { let copy = bytes.get(at.min(to)..at.max(to)).unwrap_or_default().to_vec(); bytes.extend(copy); }
            }
        }
        check(&bytes);
    }

    #[test]
    fn lines_of_every_format_in_any_order_are_answered(
        lines in prop::collection::vec(prop::sample::select(SEEDS.iter().flat_map(|seed| seed.split_inclusive(['\n', '>'])).collect::<Vec<_>>()), 0..40),
    ) {
        check(lines.concat().as_bytes());
    }
}

#[test]
fn every_seed_is_a_statement() {
    for seed in SEEDS {
        let reading = read(seed.as_bytes(), &Options::default()).expect(seed);
        assert!(
            reading.statements[0].rows_read > 0 && reading.statements[0].broken.is_empty(),
            "{seed}"
        );
    }
}

#[test]
fn what_is_too_large_is_refused() {
    assert_eq!(
        read(&vec![b'x'; FILE_BYTES_MAX + 1], &Options::default()),
        Err(StatementError::TooLarge)
    );
    let options = Options::from_pairs([("currency", "EUR")]).expect("options");
    let rows = |row: &str| row.repeat(FILE_ROWS_MAX + 1);
    let csv = format!("Date,Amount\n{}", rows("2024-01-31,1\n"));
    let mt940 = format!(":20:1\n{}", rows(":61:240131C1,\n"));
    let ofx = format!("<OFX><STMTRS>{}", rows("<STMTTRN>"));
    let camt = format!("<A><BkToCstmrStmt><Stmt>{}</Stmt></BkToCstmrStmt></A>", rows("<Ntry/>"));
    for text in [csv, mt940, ofx, camt] {
        assert_eq!(read(text.as_bytes(), &options), Err(StatementError::TooManyRows));
    }
}

#[test]
fn what_is_no_statement_file_is_refused() {
    let options = Options::default();
    assert_eq!(read(b"", &options), Err(StatementError::Empty));
    assert_eq!(read(b"\xef\xbb\xbf \r\n", &options), Err(StatementError::Empty));
    for bytes in [
        &b"%PDF-1.7\n\x00\x01"[..],
        b"PK\x03\x04\x14\x00",
        b"<html><body>Sign in</body></html>",
        b"{\"a\": 1}",
        b"\x7fELF\x02\x01",
    ] {
        let refused = read(bytes, &options);
        assert!(
            matches!(
                refused,
                Err(StatementError::UnknownFormat | StatementError::Encoding { .. })
            ),
            "{refused:?}"
        );
    }
}
