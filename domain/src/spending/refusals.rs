//! Why spending is declined.

use chrono::NaiveDate;

use crate::{Currency, Money, refusal::refusals};

refusals! {
    /// Refusals of limits and requests, and of every entry beyond a limit.
    SpendingRefusal {
        LimitExceeded { left: Money, limit: Money, per: &'static str } = Rule, "spending-limit-exceeded", "{left} is left of {limit} per {per}: ask an adult for more with request-spending";
        OtherCurrency { limit: Currency, given: Currency } = Rule, "spending-needs-approval", "the limit is in {limit}: ask an adult for spending in {given} with request-spending";
        DayOutOfRange { day: NaiveDate, days: u64 } = Rule, "spending-day-out-of-range", "with a limit, spending is entered for today or up to {days} days back: ask an adult to enter what is for {day}";
        OnlyYoung = Rule, "limit-only-for-young", "only a teen or child has a spending limit";
        LimitMissing = Rule, "spending-limit-missing", "say how much per entry, day, week or month";
        LimitCurrencies = Rule, "spending-limit-currencies", "a spending limit is in one currency";
        LimitNegative = Rule, "spending-limit-negative", "a spending limit is nothing or more";
        SameLimit = Rule, "same-spending-limit", "the limit is this already";
        NoLimit = Rule, "no-spending-limit", "the member has no spending limit";
        ApprovalNotNeeded = Rule, "approval-not-needed", "this is within the limit and needs nobody's approval";
        UntilOutOfRange { days: u64 } = Rule, "until-out-of-range", "a request stands until today or up to {days} days later";
        RequestsMax { max: usize } = Rule, "spending-requests-max", "a member has at most {max} requests that wait";
        UnknownRequest = Unknown, "unknown-request", "there is no such request in this family";
        RequestDone = Rule, "request-done", "this request was decided or has ended";
        RequestOver = Rule, "request-over", "the last day of this request is over";
        RequestMoot = Rule, "request-moot", "the member may not spend from this account any more";
        OwnRequest = Forbidden, "own-request", "nobody decides a request of their own";
    }
}
