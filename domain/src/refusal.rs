//! Refusals: commands the rules decline, each with a stable code and words a family member can be shown.

use std::fmt;

/// What sort of no it is; decides the HTTP status in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The person may not do this (403).
    Forbidden,
    /// The thing named is not in this family (404).
    Unknown,
    /// A rule of the ledger says no (422).
    Rule,
}

/// A command declined, for a reason that is always the same for the same state and command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, kebab-case; the last part of the problem's `type`.
    pub code: &'static str,
    /// What sort of no.
    pub fault: Fault,
    /// Lower case, without full stop.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Declares one aggregate's refusals: `Variant { fields } = Fault, "code", "message";`, one line each.
macro_rules! refusals {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $({ $($field:ident: $type:ty),+ })? = $fault:ident, $code:literal, $message:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum $name {
            $(
                #[doc = $message]
                #[error($message)]
                $variant $({ $(#[doc = stringify!($field)] $field: $type),+ })?,
            )+
        }

        impl $name {
            fn parts(&self) -> ($crate::refusal::Fault, &'static str) {
                match self {
                    $(Self::$variant $({ $($field: _),+ })? => ($crate::refusal::Fault::$fault, $code),)+
                }
            }
        }

        impl From<$name> for $crate::refusal::Refusal {
            fn from(refusal: $name) -> Self {
                let (fault, code) = refusal.parts();
                Self { code, fault, message: refusal.to_string() }
            }
        }

        impl From<$name> for $crate::decide::Stop {
            fn from(refusal: $name) -> Self {
                $crate::decide::Stop::Refused(refusal.into())
            }
        }
    };
}
pub(crate) use refusals;
