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
        ShareTooSmall { level: &'static str, needed: &'static str } = Forbidden, "share-too-small", "the account is shared with you as '{level}', and this needs '{needed}'";
        NotYoursToShare = Forbidden, "not-yours-to-share", "an account is shared by its owner; the family's and the children's by a parent";
        OwnShare = Forbidden, "own-share", "nobody changes their own share";
        ShareIsFixed { role: &'static str } = Rule, "share-is-fixed", "what a {role} sees of this account is not a matter of sharing";
        SameShare = Rule, "same-share", "the account is shared like this already";
        NegativeWallet = Rule, "wallet-too-low", "a wallet cannot start below zero";
        NameTaken = Rule, "account-name-taken", "you have opened an account of this name already";
    }
}
