//! Deliberate faults, each of which the simulation must find: who never fails has not looked.
//!
//! They are in the simulated database, broker and drivers; the machines under test are the real ones in every run.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The driver reports an append as done, and the connection breaks before it is.
    AnswerBeforeAppend,
    /// The driver lets decided state into the cache and the append never happens; the client hears that nobody knows.
    CacheBeforeCommit,
    /// The append does not look whether a command was decided on the family's head.
    IgnoreHeads,
    /// The append does not remember commands.
    ForgetCommands,
    /// The append does not remember claims.
    ForgetClaims,
    /// Declines are given without asking the log whether the command was accepted before.
    DeclineWithoutLookingUp,
    /// The relay is told that whatever Kafka has is in the log.
    SkipForkCheck,
    /// The broker acknowledges what only the leader has.
    AcknowledgeBeforeReplication,
    /// The producer sends again without order.
    LoseProducerOrder,
    /// The checkpoint is moved in a transaction of its own, before the rows.
    CheckpointBeforeRows,
    /// The checkpoint is moved wherever it stands, without a lock.
    DropCompareAndSet,
    /// The compare-and-set does not look whether the log still holds the batch.
    DropLogCheck,
    /// An event that cannot be folded is passed over instead of parked.
    PassOverPoison,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::AnswerBeforeAppend,
        Self::CacheBeforeCommit,
        Self::IgnoreHeads,
        Self::ForgetCommands,
        Self::ForgetClaims,
        Self::DeclineWithoutLookingUp,
        Self::SkipForkCheck,
        Self::AcknowledgeBeforeReplication,
        Self::LoseProducerOrder,
        Self::CheckpointBeforeRows,
        Self::DropCompareAndSet,
        Self::DropLogCheck,
        Self::PassOverPoison,
    ];
}
