//! Why a ledger account declines.

use crate::{Currency, Money, id::AccountId, refusal::refusals};

refusals! {
    /// Refusals of account commands, and of every entry posted to an account.
    LedgerAccountRefusal {
        UnknownAccount = Unknown, "unknown-account", "there is no such account in this family";
        AccountClosed { account_id: AccountId } = Rule, "account-closed", "account {account_id} is closed";
        AlreadyClosed = Rule, "account-closed", "the account is closed already";
        OtherCurrency { account: Currency, given: Currency } = Rule, "other-currency", "the account is in {account}, the amount in {given}";
        NotBalanced = Rule, "not-balanced", "the parts do not sum to the whole";
        WalletTooLow { balance: Money } = Rule, "wallet-too-low", "there is only {balance} in the wallet";
        WalletNotEmpty { balance: Money } = Rule, "wallet-not-empty", "there is still {balance} in the wallet";
        WalletNeedsOwner = Rule, "wallet-needs-owner", "a wallet belongs to a member: say which";
        WalletAlreadyAssigned { currency: Currency } = Rule, "wallet-already-assigned", "the member already has a wallet in {currency}";
        NegativeWallet = Rule, "wallet-too-low", "a wallet cannot start below zero";
        NameTaken = Rule, "account-name-taken", "the family already has an account of this name";
    }
}
