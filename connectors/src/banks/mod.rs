//! The `BankFeed` port and the list of providers.
//!
//! A provider is account information from somewhere: a file that a person downloaded, or (later) an aggregator's
//! interface. Whatever its own habits, it ends at the same [`StatementReading`]s. A new provider is one file and one
//! line in [`PROVIDERS`].

pub mod proof;
pub mod reading;
pub mod statement_file;

use self::{
    reading::{RefusedStatement, StatementReading},
    statement_file::{Options, StatementError, StatementFile},
};

/// Every provider, by name.
pub static PROVIDERS: &[&dyn BankFeed] = &[&StatementFile];

/// A provider of account information. The port is synchronous: a provider that speaks HTTP blocks its own thread.
pub trait BankFeed: Send + Sync {
    /// The provider's name in commands and in the log; never changed once used.
    fn name(&self) -> &'static str;

    /// Everything the source holds, booked and in the order of the source.
    ///
    /// # Errors
    /// [`FeedError`], when nothing of the source can be used.
    fn read(&self, source: &Source<'_>) -> Result<Feed, FeedError>;
}

/// Where a provider reads from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'a> {
    /// A statement file as its bytes, with what its reader was told about it.
    File {
        /// The file, whole.
        bytes: &'a [u8],
        /// What the file does not say by itself.
        options: &'a Options,
    },
}

/// What a provider read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// Statements in the order of the source.
    pub statements: Vec<StatementReading>,
    /// Statements of which nothing can be used, each with its reason.
    pub refused: Vec<RefusedStatement>,
}

/// Why a source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The file is no statement that can be used.
    #[error("the statement file cannot be used")]
    StatementFile(#[source] StatementError),
}

/// The provider of that name.
pub fn provider(name: &str) -> Option<&'static dyn BankFeed> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_sorted_and_found_by_their_names() {
        assert!(PROVIDERS.iter().map(|provider| provider.name()).is_sorted());
        for listed in PROVIDERS {
            assert_eq!(provider(listed.name()).map(BankFeed::name), Some(listed.name()));
        }
        assert!(provider("nobody").is_none());
    }

    #[test]
    fn the_statement_file_provider_reads_through_the_port() {
        let options = Options {
            currency: "EUR".parse().ok(),
            ..Options::default()
        };
        let bytes = b"Date,Amount\n2024-01-31,-4.50\n";
        let feed = provider("statement-file").expect("listed").read(&Source::File {
            bytes,
            options: &options,
        });
        assert_eq!(feed.map(|feed| feed.statements.len()), Ok(1));
        let nothing = StatementFile.read(&Source::File {
            bytes: b"",
            options: &options,
        });
        assert_eq!(nothing, Err(FeedError::StatementFile(StatementError::Empty)));
    }
}
