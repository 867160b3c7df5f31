//! What the columns of a bank's CSV file are called, in the languages of its customers.
//!
//! Headings are compared folded: lower case, without accents, signs as spaces. Within a list the better heading comes
//! first: a file that has both a booking date and a transaction date means the first one.

use domain::Currency;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Booking date.
    BookedOn,
    /// Value date.
    ValueOn,
    /// Signed amount.
    Amount,
    /// Money out.
    Debit,
    /// Money in.
    Credit,
    /// A fee besides the amount.
    Fee,
    /// Balance after the row.
    Balance,
    /// Currency of the amount.
    Currency,
    /// Debit or credit, as a word.
    Direction,
    /// The other party, or the creditor.
    Counterparty,
    /// The debtor.
    Debtor,
    /// Remittance information.
    Remittance,
    /// The bank's reference.
    Reference,
    /// The file's category.
    Category,
    /// The family's own account.
    BankAccount,
    /// Booked or pending.
    Status,
}

/// How many roles there are.
pub(super) const ROLES: usize = 16;

/// The headings of each role, in English, German, French, Spanish, Dutch, Italian and Polish.
#[rustfmt::skip]
pub(super) const HEADINGS: &[(Role, &[&str])] = &[
    (Role::BookedOn, &[
        "booked on", "booking date", "bookingdate", "posting date", "post date", "posted date", "posted on",
        "date posted", "completed date", "buchungstag", "buchungsdatum", "datum buchung", "buchung", "gebucht am",
        "date comptable", "date de comptabilisation", "date d operation", "date de l operation", "date operation",
        "date de transaction", "fecha contable", "fecha de operacion", "fecha operacion", "fecha de la operacion",
        "f operacion", "fecha movimiento", "boekdatum", "boekingsdatum", "transactiedatum", "datum transactie",
        "data contabile", "data registrazione", "data operazione", "data movimento", "data ksiegowania",
        "data zaksiegowania", "data operacji", "data transakcji", "transaction date", "transactiondate", "trans date",
        "tran date", "txn date", "umsatzdatum", "belegdatum", "kaufdatum", "date", "datum", "fecha", "data", "dato",
    ]),
    (Role::ValueOn, &[
        "value date", "valuedate", "value dt", "valutadatum", "wertstellung", "wertstellungsdatum",
        "wertstellungstag", "wert", "valuta", "date de valeur", "date valeur", "fecha valor", "fecha de valor",
        "f valor", "rentedatum", "data valuta", "data waluty",
    ]),
    (Role::Amount, &[
        "amount", "transaction amount", "amount in account currency", "betrag", "umsatz", "betrag in kontowaehrung",
        "montant", "montant de l operation", "montant operation", "importe", "importe de la operacion", "cantidad",
        "monto", "bedrag", "transactiebedrag", "importo", "kwota", "kwota operacji", "kwota transakcji",
        "kwota w walucie rachunku", "sum", "value",
    ]),
    (Role::Debit, &[
        "debit", "debits", "debit amount", "amount debit", "withdrawal", "withdrawals", "withdrawal amount",
        "withdrawal amt", "paid out", "money out", "out", "soll", "belastung", "lastschrift", "ausgabe", "ausgaben",
        "ausgang", "montant debit", "sortie", "depense", "cargo", "cargos", "debe", "adeudo", "debito", "af",
        "uitgaven", "uitgave", "uscite", "uscita", "dare", "addebito", "addebiti", "obciazenie", "obciazenia",
        "wydatki",
    ]),
    (Role::Credit, &[
        "credit", "credits", "credit amount", "amount credit", "deposit", "deposits", "deposit amount", "deposit amt",
        "paid in", "money in", "in", "haben", "gutschrift", "einnahme", "einnahmen", "eingang", "montant credit",
        "entree", "recette", "abono", "abonos", "haber", "ingreso", "credito", "bij", "inkomsten", "ontvangsten",
        "entrate", "entrata", "avere", "accredito", "accrediti", "uznanie", "uznania", "wplywy",
    ]),
    (Role::Balance, &[
        "balance", "running balance", "balance after transaction", "account balance", "closing balance",
        "resulting balance", "saldo", "kontostand", "saldo nach buchung", "neuer saldo", "solde",
        "solde apres operation", "saldo contable", "saldo na mutatie", "saldo na boeking", "saldo na trn",
        "saldo finale", "saldo contabile", "saldo po operacji", "saldo po transakcji", "saldo koncowe",
    ]),
    (Role::Currency, &[
        "currency", "ccy", "curr", "cur", "account currency", "currency code", "waehrung", "devise", "moneda",
        "divisa", "munt", "muntsoort", "valuta", "waluta", "waluta operacji",
    ]),
    (Role::Direction, &[
        "direction", "debit credit", "credit debit", "debit credit indicator", "credit debit indicator",
        "debit or credit", "dr cr", "cr dr", "d c", "c d", "dc", "soll haben", "soll haben kennzeichen", "s h",
        "debit of credit", "af bij", "sens", "dare avere", "segno", "sign",
    ]),
    (Role::Counterparty, &[
        "counterparty", "counterparty name", "counter party", "payee", "payee name", "merchant", "merchant name",
        "partner name", "name", "beneficiary", "beneficiary name", "creditor", "creditor name", "other party",
        "payer payee", "beguenstigter zahlungspflichtiger", "auftraggeber beguenstigter",
        "beguenstigter auftraggeber", "name zahlungsbeteiligter", "zahlungsempfaenger in", "zahlungsempfaenger",
        "auftraggeber empfaenger", "empfaenger auftraggeber", "auftraggeber zahlungsempfaenger", "empfaenger",
        "beguenstigter", "gegenpartei", "gegenkonto name", "haendler", "contrepartie", "beneficiaire", "tiers",
        "nom de la contrepartie", "nom", "contraparte", "beneficiario", "beneficiario ordenante",
        "ordenante beneficiario", "tegenpartij", "naam tegenpartij", "naam omschrijving", "name description", "naam",
        "begunstigde", "controparte", "beneficiario ordinante", "ordinante beneficiario", "kontrahent",
        "nazwa kontrahenta", "dane kontrahenta", "nadawca odbiorca", "odbiorca nadawca", "odbiorca",
    ]),
    (Role::Debtor, &[
        "debtor", "debtor name", "payer", "payer name", "zahlungspflichtige r", "zahlungspflichtiger", "auftraggeber",
        "donneur d ordre", "ordenante", "opdrachtgever", "ordinante", "nadawca",
    ]),
    (Role::Remittance, &[
        "remittance information", "remittance", "memo", "payment reference", "verwendungszweck", "vwz", "description",
        "transaction description", "narrative", "narration", "particulars", "details", "transaction details", "note",
        "notes", "notifications", "beschreibung", "buchungstext", "buchungsdetails", "umsatztext", "text", "libelle",
        "libelle operation", "libelle de l operation", "libelle complet", "motif", "communication", "communications",
        "concepto", "movimiento", "descripcion", "detalle", "observaciones", "mededelingen", "mededeling", "omschrijving",
        "omschrijving 1", "causale", "descrizione", "descrizione operazione", "descrizione estesa", "tytul",
        "tytulem", "tytul przelewu", "tytul operacji", "opis", "opis operacji", "opis transakcji",
    ]),
    (Role::Reference, &[
        "entry reference", "transaction id", "transaction reference", "reference", "reference number", "ref",
        "ref no", "bank reference", "fitid", "id", "bankreferenz", "transaktions id", "buchungsreferenz", "referenz",
        "kundenreferenz", "kundenreferenz end to end", "reference operation", "reference de l operation",
        "numero operation", "referencia", "numero de referencia", "transactiereferentie", "referentie", "volgnr",
        "riferimento", "numero operazione", "id transazione", "numer referencyjny", "nr referencyjny",
        "numer transakcji", "nr transakcji",
    ]),
    (Role::Category, &["category", "kategorie", "categorie", "categoria", "rubriek", "kategoria", "categories"]),
    (Role::BankAccount, &[
        "own account", "auftragskonto", "iban auftragskonto", "iban bban", "rekening", "own iban", "account",
        "account number", "account no", "iban", "konto", "kontonummer", "compte", "numero de compte", "cuenta",
        "numero de cuenta", "rekeningnummer", "conto", "numero conto", "rachunek", "numer rachunku",
    ]),
    (Role::Status, &["status", "state", "statut", "estado", "stato"]),
];

/// How many of the first headings of a bank account mean the family's own. The others may as well be the other party's,
/// and count only when every row says the same.
pub(super) const OWN_ACCOUNT_HEADINGS: usize = 6;

/// A heading as it is compared.
pub(super) fn fold(heading: &str) -> String {
    let mut folded = String::new();
    for c in heading.chars().take(200).flat_map(char::to_lowercase) {
        match c {
            'ä' | 'æ' => folded.push_str("ae"),
            'ö' | 'œ' => folded.push_str("oe"),
            'ü' => folded.push_str("ue"),
            'ß' => folded.push_str("ss"),
            'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' => folded.push('a'),
            'è' | 'é' | 'ê' | 'ë' | 'ę' => folded.push('e'),
            'ì' | 'í' | 'î' | 'ï' => folded.push('i'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ø' => folded.push('o'),
            'ù' | 'ú' | 'û' => folded.push('u'),
            'ç' | 'ć' | 'č' => folded.push('c'),
            'ñ' | 'ń' => folded.push('n'),
            'ł' => folded.push('l'),
            'ś' | 'š' => folded.push('s'),
            'ź' | 'ż' | 'ž' => folded.push('z'),
            c if c.is_alphanumeric() => folded.push(c),
            _ => folded.push(' '),
        }
    }
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A folded heading without the currency that ends it, and that currency: `betrag eur` and `umsatz in eur`.
pub(super) fn without_currency(folded: &str) -> Option<(&str, Currency)> {
    let (heading, code) = folded.rsplit_once(' ')?;
    let currency = code.to_uppercase().parse().ok()?;
    Some((heading.strip_suffix(" in").unwrap_or(heading), currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_folded() {
        assert_eq!(
            fold(" Begünstigter/Zahlungspflichtiger "),
            "beguenstigter zahlungspflichtiger"
        );
        assert_eq!(
            (
                fold("Libellé").as_str(),
                fold("Opis_operacji:").as_str(),
                fold("KSIĘGOWANIA").as_str()
            ),
            ("libelle", "opis operacji", "ksiegowania")
        );
        assert_eq!(
            without_currency(&fold("Umsatz in EUR")).map(|(heading, c)| (heading, c.code().to_owned())),
            Some(("umsatz", "EUR".into()))
        );
        assert_eq!(without_currency("betrag"), None);
    }

    #[test]
    fn every_heading_is_written_as_it_is_compared() {
        for (_, headings) in HEADINGS {
            for heading in *headings {
                assert_eq!(fold(heading), **heading);
            }
        }
    }

    #[test]
    fn a_heading_has_one_role_but_for_valuta() {
        let mut seen = std::collections::HashSet::new();
        let twice: Vec<_> = HEADINGS
            .iter()
            .flat_map(|(_, headings)| *headings)
            .filter(|heading| !seen.insert(**heading))
            .collect();
        assert_eq!(twice, [&"valuta"]);
    }
}
