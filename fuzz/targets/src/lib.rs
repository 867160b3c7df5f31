//! What must hold whatever the bytes: one function per entry point that takes data from outside.
//!
//! Each function panics when something does not hold, and returns otherwise. libFuzzer drives them with the programs in
//! `fuzz/fuzz_targets` (`scripts/fuzz.sh`); an ordinary test replays every seed, every input that ever failed
//! (`fuzz/regressions/<target>/`), and some thousand mutations of them with a seed that is printed.

#[cfg(feature = "services")]
mod chain;
mod commands;
#[cfg(feature = "services")]
mod cursor;
mod events;
#[cfg(feature = "services")]
mod input;
mod pack;
mod statements;

#[cfg(feature = "services")]
pub use chain::chain_verify;
pub use commands::command_body;
#[cfg(feature = "services")]
pub use cursor::query_cursor;
pub use events::{decode, upcast};
pub use pack::pack_verify;
pub use statements::{statement_camt, statement_csv, statement_mt940, statement_ofx};

/// One entry point.
pub struct Target {
    /// Its name: that of its program, of its seeds and of its regressions.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
}

/// Every target, one line each.
pub const TARGETS: &[Target] = &[
    #[cfg(feature = "services")]
    Target {
        name: "chain_verify",
        run: chain_verify,
    },
    Target {
        name: "command_body",
        run: command_body,
    },
    Target {
        name: "decode",
        run: decode,
    },
    Target {
        name: "pack_verify",
        run: pack_verify,
    },
    #[cfg(feature = "services")]
    Target {
        name: "query_cursor",
        run: query_cursor,
    },
    Target {
        name: "statement_camt",
        run: statement_camt,
    },
    Target {
        name: "statement_csv",
        run: statement_csv,
    },
    Target {
        name: "statement_mt940",
        run: statement_mt940,
    },
    Target {
        name: "statement_ofx",
        run: statement_ofx,
    },
    Target {
        name: "upcast",
        run: upcast,
    },
];
