//! Proofs as the API gives them, checked by the independent verifier.

use event_store::seal::{proofs, tree};
use verifier::{Head, heights, is_consistent, is_head, is_included};

use super::sealed::{Sealed, family};
use crate::export::LANE;

#[tokio::test]
async fn every_event_is_proven_in_every_checkpoint_that_covers_it() {
    let sealed = Sealed::with_families(25).await;
    let records = sealed.whole.read_lane(LANE, 0, i64::MAX).await.unwrap();
    let sizes = proofs::sizes(sealed.whole.pool(), LANE, u64::MAX, 1_000).await.unwrap();
    let mut checked = 0;
    for size in &sizes {
        let root = proofs::checkpoint(sealed.whole.pool(), LANE, Some(*size))
            .await
            .unwrap()
            .unwrap()
            .root;
        for record in records.iter().filter(|record| record.position.unsigned_abs() <= *size) {
            let position = record.position.unsigned_abs();
            let proof = proofs::inclusion(sealed.whole.pool(), LANE, position, *size)
                .await
                .unwrap();
            let leaf = tree::leaf_of(record);
            assert!(
                is_included(&leaf, position - 1, *size, &proof, &root),
                "{position} in {size}"
            );
            assert!(!is_included(&leaf, position, *size, &proof, &root), "another place");
            assert!(
                !is_included(&record.chain_hash, position - 1, *size, &proof, &root),
                "another leaf"
            );
            checked += 1;
        }
    }
    assert_eq!(
        checked,
        sizes.iter().sum::<u64>(),
        "every position under every checkpoint"
    );
    sealed.end().await;
}

#[tokio::test]
async fn every_checkpoint_is_proven_to_begin_every_later_one() {
    let sealed = Sealed::with_families(25).await;
    let sizes = proofs::sizes(sealed.whole.pool(), LANE, u64::MAX, 1_000).await.unwrap();
    let mut roots = Vec::new();
    for size in &sizes {
        roots.push((
            *size,
            proofs::checkpoint(sealed.whole.pool(), LANE, Some(*size))
                .await
                .unwrap()
                .unwrap()
                .root,
        ));
    }
    for (index, (from, old)) in roots.iter().enumerate() {
        for (to, new) in &roots[index..] {
            let proof = proofs::consistency(sealed.whole.pool(), LANE, *from, *to)
                .await
                .unwrap();
            assert!(is_consistent((*from, old), (*to, new), &proof), "{from} to {to}");
            assert!(
                from == to || !is_consistent((*from, new), (*to, new), &proof),
                "another root"
            );
        }
    }
    assert_eq!(heights(3, 8).collect::<Vec<_>>(), [0, 2]);
    sealed.end().await;
}

#[tokio::test]
async fn every_familys_end_is_proven_and_no_other_end() {
    let sealed = Sealed::with_families(25).await;
    for number in 1..=3 {
        let id = family(number).uuid();
        let proven = proofs::head(sealed.whole.pool(), LANE, id).await.unwrap().unwrap();
        let text = proven
            .checkpoint
            .note
            .lines()
            .nth(3)
            .unwrap()
            .strip_prefix("heads ")
            .unwrap()
            .to_owned();
        let root = verifier_root(&text);
        let head = Head {
            family_seq: proven.family_seq.unsigned_abs(),
            position: proven.position.unsigned_abs(),
            chain_hash: proven.chain_hash,
        };
        assert!(is_head(id.as_bytes(), &head, &proven.siblings, &root));
        let earlier = Head {
            family_seq: head.family_seq - 1,
            ..head
        };
        assert!(!is_head(id.as_bytes(), &earlier, &proven.siblings, &root));
        assert!(!is_head(family(9).uuid().as_bytes(), &head, &proven.siblings, &root));
    }
    assert_eq!(
        proofs::head(sealed.whole.pool(), LANE, family(9).uuid()).await.unwrap(),
        None
    );
    sealed.end().await;
}

fn verifier_root(text: &str) -> verifier::Hash {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text).unwrap().try_into().unwrap()
}
