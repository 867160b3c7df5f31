//! How old the newest checkpoints are, as the database tells it.

use event_store::seal::checkpoint_ages;

use super::sealed::{Sealed, family};
use crate::export::{LANE, append, random_ledger::random_ledger};

#[tokio::test]
async fn the_age_of_the_newest_checkpoint_is_told_though_no_sealer_runs() {
    let sealed = Sealed::new().await;
    append(&sealed.log, family(1), &random_ledger(family(1), 1, 20), 0).await;
    assert_eq!(checkpoint_ages(&sealed.sealer).await.unwrap(), [], "there is none yet");
    sealed.seal().await;
    sealed
        .tamper("update log.checkpoints set sealed_at = sealed_at - interval '1 hour'")
        .await;
    let ages = checkpoint_ages(&sealed.sealer).await.unwrap();
    assert!(
        matches!(ages[..], [(LANE, age_s)] if (3_600.0..4_200.0).contains(&age_s)),
        "{ages:?}"
    );
    append(&sealed.log, family(2), &random_ledger(family(2), 2, 5), 0).await;
    sealed.seal().await;
    let ages = checkpoint_ages(&sealed.sealer).await.unwrap();
    assert!(matches!(ages[..], [(LANE, age_s)] if age_s < 3_600.0), "{ages:?}");
    sealed.end().await;
}
