//! Why a bank connection declines.

use chrono::NaiveDate;

use crate::{Currency, Money, refusal::refusals};

refusals! {
    /// Refusals of bank commands.
    BankConnectionRefusal {
        UnknownConnection = Unknown, "unknown-connection", "there is no such bank connection in this family";
        UnknownImport = Unknown, "unknown-import", "there is no such import in this family";
        AlreadyConnected = Rule, "already-connected", "the account has a bank connection already";
        WalletNotConnectable = Rule, "wallet-not-connectable", "a wallet is not fed by a bank";
        UnknownProvider = Rule, "unknown-provider", "there is no such provider of bank data";
        OtherCurrency { account: Currency, statement: Currency } = Rule, "other-currency", "the account is in {account}, the statement in {statement}";
        RowsMax { max: usize } = Rule, "rows-max", "one import takes at most {max} rows: split the file";
        RowOutOfRange { row: usize, day: NaiveDate } = Rule, "date-out-of-range", "row {row}: {day} is before 1970 or more than a year ahead";
        NotProved { opening: Money, rows: Money, closing: Money } = Rule, "statement-not-proved", "the statement does not add up: opening {opening} and rows {rows} do not make closing {closing}";
        Discontinuous { ledger: Money, bank: Money, day: NaiveDate } = Rule, "statement-not-continuous", "on {day} the bank says {bank}, the ledger would say {ledger}: a statement between is missing, or one was imported into the wrong account";
        AlreadyUndone = Rule, "import-already-undone", "the import is undone already";
        NotTheLatest = Rule, "import-not-latest", "later statements build on this import: undo those first";
    }
}
