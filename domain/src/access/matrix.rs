//! The table itself. Read it from left to right: an operation, then what each of these may do of it.
//!
//! Words are those of [`super::Cell`]; `step_up` after the name asks everybody who may for a proof of the last ten minutes; `of`
//! after the cells says what it needs of the accounts that it names or shows ([`super::Needs`]), each by itself. The sentence at the end says what a word alone cannot. A new command, view or route is one line here: without it, it does not
//! compile, or a test names it.

/// Calls a macro with the whole table.
macro_rules! matrix {
    ($with:ident) => {
        $with! {
            commands {
                // command               parent  partner  teen  child  auditor  stranger
                AcceptHandover  step_up [No      Part     No    No     No       No ] "To whom a parent has offered it.";
                AddCategory             [Yes     Yes      No    No     No       No ] "";
                AddExpense              [Yes     Yes      Shared Shared No      No ] of Full "From an account of which they have all, and within their limit.";
                AddIncome               [Yes     Yes      No    No     No       No ] of Full "";
                AddMember       step_up [Yes     Part     No    No     No       No ] "A partner adds teens and children. Whose last day as an auditor is not said has thirty days.";
                ApproveChore            [Yes     Yes      No    No     No       No ] of Full "Nobody approves a chore of their own.";
                ApproveSpending step_up [Yes     Yes      No    No     No       No ] of Full "From an account of which they have all; nobody approves a request of their own.";
                AwardBadge              [Yes     Yes      No    No     No       No ] "";
                CancelSpendingRequest   [No      No       Own   Own    No       No ] "";
                ChangeNotice    step_up [Yes     No       No    No     No       No ] "";
                ChangeRole      step_up [Yes     No       No    No     No       No ] "Nobody changes their own role, and no teen or child who needs consent becomes an adult without it. Who becomes an auditor is one for thirty days, or as set-audit-term says.";
                ChooseLeaderboard       [Yes     No       No    No     No       No ] "";
                ClaimChore              [Part    Part     Part  Part   No       No ] "A chore that is for anybody, or for them.";
                CloseAccount            [Yes     Yes      No    No     No       No ] of Full "";
                CompleteChore           [Own     Own      Own   Own    No       No ] "A chore they claimed.";
                ConnectBank             [Yes     Yes      No    No     No       No ] of Full "";
                CreateFamily            [Yes     Yes      Yes   Yes    Yes      Yes] "Founds another family, whose first parent they are; not by the PIN of a paired device.";
                DeclineSpending         [Yes     Yes      No    No     No       No ] of Full "From an account of which they have all; nobody declines a request of their own.";
                DeleteFamily    step_up [Part    No       No    No     No       No ] "Once nobody but they is left of the adults, and thirty days after they removed one.";
                EraseMember     step_up [Part    Own      No    No     Own      No ] "Of adults only they themself, until they have left, or were removed thirty days ago. The last parent hands the family over first.";
                GiveConsent     step_up [Yes     No       No    No     No       No ] "For a teen or child below the age of consent.";
                HandOverFamily  step_up [Yes     No       No    No     No       No ] "To a partner, who has to accept.";
                LeaveFamily     step_up [Part    Yes      No    No     Yes      No ] "The last parent hands the family over first.";
                MarkNotificationsRead   [Own     Own      Own   Own    No       No ] "";
                OfferChore              [Yes     Yes      No    No     No       No ] of Full "";
                OpenAccount             [Yes     Yes      No    No     No       No ] "";
                RecategoriseEntry       [Yes     Yes      No    No     No       No ] of Annotate "";
                RejectChore             [Yes     Yes      No    No     No       No ] "";
                RemoveMember    step_up [Yes     No       No    No     No       No ] "Nobody removes themselves.";
                RemoveSpendingLimit step_up
                                        [Yes     No       No    No     No       No ] "";
                RenameMember            [Own     Own      Own   Own    No       No ] "Themselves; a parent also teens, children, auditors and places that nobody has taken.";
                RequestSpending         [No      No       Shared Shared No      No ] of Full "From an account of which they have all, beyond their limit.";
                ReverseEntry            [Yes     Own      Own   No     No       No ] of Full "An entry they entered themselves, a teen one of today or yesterday; else a teen, and always a child, asks an adult.";
                RevokeConsent   step_up [Yes     No       No    No     No       No ] "For a teen or child below the age of consent.";
                SetAgeBand      step_up [Yes     No       No    No     No       No ] "";
                SetAuditTerm    step_up [Yes     No       No    No     No       No ] "";
                SetBudget               [Yes     Yes      No    No     No       No ] "";
                SetCountry      step_up [Yes     No       No    No     No       No ] "";
                SetSpendingLimit step_up
                                        [Yes     No       No    No     No       No ] "For a teen or child.";
                ShareAccount    step_up [Own     Own      No    No     No       No ] of Managing "An account of their own; a parent also the family's and the children's.";
                SyncBank                [Yes     Yes      No    No     No       No ] of Full "";
                Transfer                [Yes     Yes      Shared Shared No      No ] of Full "Between accounts of which they have all, and out of their hands within their limit.";
                UndoImport              [Yes     Yes      No    No     No       No ] of Full "";
                WithdrawHandover        [Own     No       No    No     No       No ] "An offer of their own.";
            }
            views {
                // view                  parent  partner  teen  child  auditor  stranger
                "account-shares"        [Own     Own      No    No     No       No ] of Managing "Accounts that they may share.";
                "accounts"              [Yes     Yes      Shared Shared Yes      No ] of View "";
                "badges"                [Yes     Yes      Own   Own    No       No ] "";
                "bank-connections"      [Yes     Yes      No    No     Yes      No ] of View "";
                "budgets"               [Yes     Yes      No    No     Yes      No ] of View "";
                "categories"            [Yes     Yes      Yes   Yes    Yes      No ] "";
                "chores"                [Yes     Yes      Part  Part   Yes      No ] "A teen or child sees those for anybody or for them, and not what another's pays.";
                "dashboard"             [Yes     Yes      Shared Shared Yes      No ] of View "Notifications are everybody's own.";
                "entries"               [Yes     Yes      Shared Shared Yes      No ] of View "";
                "imports"               [Yes     Yes      No    No     Yes      No ] of View "";
                "leaderboard"           [Yes     Yes      Yes   Yes    No       No ] "Effort, never money, of members who are opted in.";
                "members"               [Yes     Yes      Part  Part   Yes      No ] "A teen or child sees names and roles.";
                "notifications"         [Own     Own      Own   Own    Own      No ] of View "";
                "spending"              [Yes     Yes      Shared Shared Yes      No ] of View "";
                "spending-limits"       [Yes     Yes      Own   Own    Yes      No ] "What is left of one is not for a partner from whom an account is hidden.";
                "spending-requests"     [Yes     Yes      Own   Own    Yes      No ] of View "About accounts that they see.";
                "trend"                 [Yes     Yes      Shared Shared Yes      No ] of View "";
            }
            routes {
                // operation             method and path below the family, and who, as above
                "batch"                  POST "/commands"
                                        [Part    Part     Part  Part   Part     No ] "Each command as its own row says.";
                "checkpoint"             GET "/audit/checkpoint"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "events"                 GET "/audit/events"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "export"                 GET "/audit/export" step_up
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "import"                 POST "/imports"
                                        [Yes     Yes      No    No     No       No ] of Full "";
                "invitations"            GET "/invitations"
                                        [Yes     No       No    No     No       No ] "";
                "invite"                 POST "/members/{member_id}/invitation" step_up
                                        [Yes     Part     No    No     No       No ] "A partner invites teens and children.";
                "member-export"          GET "/members/{member_id}/export" step_up
                                        [Own     Own      Own   Own    Own      No ] "About themselves; a parent also about teens and children.";
                "pack"                   GET "/audit/pack" step_up
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "pair"                  POST "/members/{member_id}/pairing" step_up
                                        [Yes     Yes      No    No     No       No ] "Teens and children without an account of their own; and looking after their devices.";
                "proof-consistency"      GET "/audit/proof/consistency"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "proof-head"             GET "/audit/proof/head"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "proof-inclusion"        GET "/audit/proof/inclusion"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "receipt"                GET "/commands/{command_id}"
                                        [Yes     Yes      Own   Own    Yes      No ] "A teen or child sees what came of their own commands.";
                "revoke-invitation"      DELETE "/invitations/{invitation_id}"
                                        [Yes     No       No    No     No       No ] "";
                "security-events"        GET "/security-events"
                                        [Yes     No       No    No     No       No ] "Of other adults only what concerns the family.";
                "statement"              GET "/audit/as-of"
                                        [Yes     Yes      No    No     Yes      No ] of Everything "";
                "verify"                 GET "/audit/verify"
                                        [Yes     Yes      No    No     Yes      No ] "";
            }
        }
    };
}
pub(crate) use matrix;
