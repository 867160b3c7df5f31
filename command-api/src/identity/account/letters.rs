//! What the letters say. No name, no amount and nothing a stranger wrote stands in them: whoever registers with somebody else's
//! address must not be able to send them words of their own.

use std::time::Duration;

use domain::actor::Role;

/// A letter, before it has an address. It may hold a token, so it has no `Debug`.
pub(in super::super) struct Letter {
    pub subject: &'static str,
    pub text: String,
    pub useful_for: Duration,
}

/// A notice is still news after a day.
const NOTICE: Duration = Duration::from_secs(24 * 60 * 60);

const NOT_YOU: &str = "If this was not you: reset your password, and look at your sessions and the security events of your \
                       account.\n";

fn letter(subject: &'static str, useful_for: Duration, text: String) -> Letter {
    Letter {
        subject,
        text: format!("{text}\n-- \nKinledger writes this by itself; nobody reads answers.\n"),
        useful_for,
    }
}

pub(super) fn verify_email(link: &str, token: &str) -> Letter {
    letter(
        "Confirm your e-mail address",
        NOTICE,
        format!(
            "Somebody, hopefully you, uses this address for an account at Kinledger.\n\nTo confirm that it is yours, open \
             within 24 hours:\n\n{link}\n\nor enter this code:\n\n{token}\n\nUnless you are signed in there, you are asked for the \
             password that you chose for this account. If you chose none, it was not you: do nothing.\n"
        ),
    )
}

pub(super) fn change_email(link: &str, token: &str) -> Letter {
    letter(
        "Confirm your new e-mail address",
        NOTICE,
        format!(
            "Somebody, hopefully you, wants to use this address for their account at Kinledger from now on.\n\nTo confirm \
             it, open within 24 hours:\n\n{link}\n\nor enter this code:\n\n{token}\n\nUnless you are signed in there, you are asked \
             for the password of that account. If it was not you, do nothing.\n"
        ),
    )
}

pub(super) fn email_change_asked() -> Letter {
    letter(
        "Somebody wants to change your e-mail address",
        NOTICE,
        format!(
            "Somebody, hopefully you, asked for another e-mail address for your account at Kinledger. It counts once its mail was \
             read, within 24 hours; a new password ends that.\n\n{NOT_YOU}"
        ),
    )
}

pub(super) fn email_changed() -> Letter {
    letter(
        "Your e-mail address was changed",
        NOTICE,
        "Your account at Kinledger has another e-mail address now; this one does not sign in any more.\n\nIf this was not \
         you, tell whoever runs your installation at once.\n"
            .to_owned(),
    )
}

pub(super) fn reset_password(link: &str, token: &str, useful_for: Duration) -> Letter {
    letter(
        "Reset your password",
        useful_for,
        format!(
            "Somebody, hopefully you, asked to reset the password of your account at Kinledger.\n\nTo choose a new one, \
             open within 30 minutes:\n\n{link}\n\nor enter this code:\n\n{token}\n\nIf it was not you, do nothing: your \
             password stays as it is.\n"
        ),
    )
}

pub(super) fn already_registered(link: &str, token: &str, useful_for: Duration) -> Letter {
    letter(
        "You have an account already",
        useful_for,
        format!(
            "Somebody, hopefully you, tried to register at Kinledger with this address. There is an account already: sign \
             in instead.\n\nIf you do not know its password any more, choose a new one within 30 minutes:\n\n{link}\n\nor \
             enter this code:\n\n{token}\n\nIf it was not you, do nothing.\n"
        ),
    )
}

/// The account was begun with this address, by its owner or by somebody else; whoever reads this makes it theirs.
pub(super) fn begun_before(link: &str, token: &str, useful_for: Duration) -> Letter {
    letter(
        "Choose the password of your account",
        useful_for,
        format!(
            "Somebody, hopefully you, registers at Kinledger with this address. It was used before, and nobody has confirmed it \
             since.\n\nTo make the account yours, choose its password within 30 minutes:\n\n{link}\n\nor enter this \
             code:\n\n{token}\n\nWhatever somebody set up on it before ends with that. If it was not you, do nothing.\n"
        ),
    )
}

/// With the role, and without the names of family and maker: whoever invites must not be able to send strangers words of their own.
pub(in super::super) fn invited(link: &str, code: &str, role: Role) -> Letter {
    let of_the_young = if role.is_young() {
        "Whoever takes a teen's or child's place is looked after by the family's parents: they read when and where it signs in, and \
         they alone end it.\n\n"
    } else {
        ""
    };
    letter(
        "You are invited to a family's ledger",
        Duration::from_secs(7 * 24 * 60 * 60),
        format!(
            "Somebody, hopefully one you know, invites you to their family's ledger at Kinledger, as its {role}.\n\n{of_the_young}To \
             take your place, open within a week:\n\n{link}\n\nor enter this code, signed in to an account with this \
             address:\n\n{code}\n\nIf you do not know why, do nothing.\n",
            role = role.as_str()
        ),
    )
}

/// As [`invited`], for who has their place already.
pub(in super::super) fn own_account(link: &str, code: &str) -> Letter {
    letter(
        "An account of your own",
        Duration::from_secs(7 * 24 * 60 * 60),
        format!(
            "Somebody, hopefully you, is to sign in to Kinledger with this address instead of a PIN.\n\nTo choose a password, open \
             within a week:\n\n{link}\n\nor enter this code:\n\n{code}\n\nA teen or child does so on the device that they unlock by \
             their PIN. If you do not know why, do nothing.\n"
        ),
    )
}

pub(super) fn password_changed() -> Letter {
    letter(
        "Your password was changed",
        NOTICE,
        format!(
            "The password of your account at Kinledger was changed, and other devices were signed out.\n\n{NOT_YOU}"
        ),
    )
}

pub(super) fn account_closed() -> Letter {
    letter(
        "Your account was closed",
        NOTICE,
        "Your account at Kinledger was closed, as you asked. You have left your families, and this address signs in to nothing \
         any more; it may be used for a new account.\n\nIf this was not you, tell whoever runs your installation at once.\n"
            .to_owned(),
    )
}

/// Somebody signed in on a device that had not been seen before.
pub(in super::super) fn new_device() -> Letter {
    letter(
        "A new device signed in",
        NOTICE,
        format!(
            "Somebody signed in to your account at Kinledger on a device that was not used for it before.\n\n{NOT_YOU}"
        ),
    )
}

/// An account elsewhere signs in to this one from now on.
pub(in super::super) fn sign_in_linked() -> Letter {
    letter(
        "Another way to sign in was added",
        NOTICE,
        format!("Your account at Kinledger can be signed in to by an account elsewhere now.\n\n{NOT_YOU}"),
    )
}

/// An account elsewhere does not sign in to this one any more.
pub(in super::super) fn sign_in_unlinked() -> Letter {
    letter(
        "A way to sign in was taken away",
        NOTICE,
        format!("An account elsewhere does not sign in to your account at Kinledger any more.\n\n{NOT_YOU}"),
    )
}

/// A phone signs in from now on.
pub(in super::super) fn phone_added() -> Letter {
    letter(
        "A phone was added to your account",
        NOTICE,
        format!("Your account at Kinledger can be signed in to by a code to a phone now.\n\n{NOT_YOU}"),
    )
}

/// A phone does not sign in any more, because somebody else has its number.
pub(in super::super) fn phone_moved() -> Letter {
    letter(
        "The phone of your account was removed",
        NOTICE,
        format!(
            "Somebody showed that the telephone number of your account at Kinledger reaches them now, so it does not sign in to your \
             account any more. Add another one when you like.\n\n{NOT_YOU}"
        ),
    )
}

/// A phone does not sign in any more.
pub(in super::super) fn phone_removed() -> Letter {
    letter(
        "The phone of your account was removed",
        NOTICE,
        format!("Your account at Kinledger cannot be signed in to by a code to a phone any more.\n\n{NOT_YOU}"),
    )
}

/// Codes of an authenticator app are asked for from now on.
pub(in super::super) fn authenticator_added() -> Letter {
    letter(
        "An authenticator app was added to your account",
        NOTICE,
        format!(
            "Whoever signs in to your account at Kinledger is asked for a code of an authenticator app from now on.\n\n\
             {NOT_YOU}"
        ),
    )
}

/// Codes of an authenticator app are asked for no more.
pub(in super::super) fn authenticator_removed() -> Letter {
    letter(
        "The authenticator app of your account was removed",
        NOTICE,
        format!(
            "Whoever signs in to your account at Kinledger is asked for no code of an authenticator app any more.\n\n\
             {NOT_YOU}"
        ),
    )
}

/// A passkey signs in from now on.
pub(in super::super) fn passkey_added() -> Letter {
    letter(
        "A passkey was added to your account",
        NOTICE,
        format!("Your account at Kinledger can be signed in to by one more passkey now.\n\n{NOT_YOU}"),
    )
}

/// A passkey does not sign in any more.
pub(in super::super) fn passkey_removed() -> Letter {
    letter(
        "A passkey of your account was removed",
        NOTICE,
        format!("A passkey does not sign in to your account at Kinledger any more.\n\n{NOT_YOU}"),
    )
}

/// The recovery codes are others now.
pub(in super::super) fn recovery_codes_made() -> Letter {
    letter(
        "New recovery codes were made for your account",
        NOTICE,
        format!(
            "Your account at Kinledger has new recovery codes, which stand in for a second factor that was lost. The ones of before open \
             nothing any more.\n\n{NOT_YOU}"
        ),
    )
}

/// A recovery code stood in for a second factor.
pub(in super::super) fn recovery_code_used() -> Letter {
    letter(
        "A recovery code of your account was used",
        NOTICE,
        format!("Somebody used a recovery code of your account at Kinledger in place of a second factor.\n\n{NOT_YOU}"),
    )
}

/// A program acts for somebody from now on.
pub(in super::super) fn api_key_made() -> Letter {
    letter(
        "A key for a program was made",
        NOTICE,
        format!(
            "A key was made by which a program can act for you at Kinledger, until you end it or it runs out.\n\n{NOT_YOU}"
        ),
    )
}

/// Two had one refresh token: a session was ended for both.
pub(in super::super) fn session_ended_for_reuse() -> Letter {
    letter(
        "One of your devices was signed out for safety",
        NOTICE,
        format!(
            "What keeps one of your devices signed in to your account at Kinledger was used twice, as it would be if somebody had copied \
             it. Nobody can tell the two apart, so both were signed out: sign in again there. A device that was restored from a backup \
             may have done it.\n\n{NOT_YOU}"
        ),
    )
}
