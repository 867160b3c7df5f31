//! Why the family declines.

use chrono::NaiveDate;

use crate::refusal::refusals;

refusals! {
    /// Refusals of family commands, and of every command asked by somebody who may not.
    FamilyRefusal {
        UnknownFamily = Unknown, "unknown-family", "there is no such family";
        RoleNotAllowed { role: &'static str, command: &'static str } = Forbidden, "role-not-allowed", "the role {role} may not use {command}";
        AlreadyCreated = Rule, "family-exists", "the family exists already";
        UnknownMember = Unknown, "unknown-member", "there is no such member in this family";
        MemberGone = Rule, "member-gone", "this member has left the family";
        LastParent = Rule, "last-parent", "a family is never without a parent: hand it over first";
        OthersFirst = Rule, "others-first", "a family with other adults in it is not deleted: they leave or are removed first";
        OtherName = Rule, "other-name", "to confirm, write the family's name exactly as it is";
        OwnToErase = Forbidden, "own-to-erase", "an adult has themself erased; nobody else does as long as they are in the family, nor within thirty days of their removal";
        RemovedLately = Rule, "removed-lately", "an adult was removed within thirty days, which are theirs to take along what they wrote; delete the family after that";
        AlreadyErased = Rule, "already-erased", "this member was erased already";
        OwnPlace = Rule, "own-place", "nobody removes themselves: leave the family instead";
        NotAPartner = Rule, "not-a-partner", "a family is handed over to a partner who has joined";
        NothingOffered = Rule, "nothing-offered", "there is no offer of the family that you could accept or take back";
        NotAnAuditor = Rule, "not-an-auditor", "only an auditor looks for a term";
        TermOver = Rule, "term-over", "the last day of the term is today or later, and within two years";
        AuditOver = Rule, "audit-over", "the last day of this auditor's place is over: a parent says another one first (set-audit-term)";
        ConsentRequired = Forbidden, "consent-required", "a parent has to consent first to what is kept about this child (set-country once, then give-consent)";
        ConsentNotNeeded = Rule, "consent-not-needed", "nobody has to consent for this member";
        SameConsent = Rule, "same-consent", "this is so already";
        OldNotice { version: u32 } = Rule, "old-notice", "the notice is at version {version}: consent is to that one, and a changed notice has a higher one";
        NoCountry = Rule, "no-country", "say the family's country first (set-country): it decides for which teens and children a parent has to consent";
        UnknownCountry = Rule, "unknown-country", "a country is two capital letters, one that ISO 3166-1 knows";
        NotYoung = Rule, "not-young", "only a teen or child has an age band";
        NotYours = Forbidden, "not-yours", "a teen or child may only use what is their own";
        AlreadyJoined = Rule, "already-joined", "this place in the family is already taken";
        AlreadyMember = Rule, "already-member", "you already belong to this family";
        OwnRole = Forbidden, "own-role", "nobody changes their own role";
        RemainsGrownUp = Rule, "remains-grown-up", "who has taken a place as a grown-up does not become a teen or child: remove them, and invite them to a new place";
        SameRole = Rule, "same-role", "the member already has this role";
        SameName = Rule, "same-name", "the member is called so already";
        NotYoursToRename = Forbidden, "not-yours-to-rename", "you name yourself, and as a parent teens, children, auditors and places that nobody has taken";
        SameChoice = Rule, "same-choice", "the member is shown like this already";
        UnknownZone = Rule, "unknown-zone", "a zone is a name that IANA's list of time zones has, such as Europe/Berlin";
        BadText { field: &'static str, max: usize } = Rule, "bad-text", "{field} must have 1 to {max} characters and no control characters";
        DateOutOfRange { day: NaiveDate } = Rule, "date-out-of-range", "{day} is before 1970 or more than a year ahead";
        MembersMax { max: usize } = Rule, "members-max", "a family has at most {max} members";
    }
}
