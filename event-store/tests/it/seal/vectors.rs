//! Trees, proofs and notes of `tests/vectors/tlog.json`, made by Go's `golang.org/x/mod/sumdb`: the sealer makes the same,
//! and the verifier takes them.

use event_store::{
    Lane,
    seal::{
        SealingKey, note,
        tree::{self, Edge, consistency, inclusion},
    },
};
use serde::Deserialize;
use verifier::{Checkpoint, Frontier, Hash, VerifierKey, is_consistent, is_included, open_note, unhex};

#[derive(Deserialize)]
struct Vectors {
    leaves: Vec<String>,
    roots: Vec<String>,
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
    seed: String,
    verifier_key: String,
    note: String,
    text: String,
}

#[derive(Deserialize)]
struct Inclusion {
    index: u64,
    size: u64,
    hashes: Vec<String>,
}

#[derive(Deserialize)]
struct Consistency {
    from: u64,
    to: u64,
    hashes: Vec<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../vectors/tlog.json")).unwrap()
}

fn hashes(texts: &[String]) -> Vec<Hash> {
    texts.iter().map(|text| unhex(text.as_bytes()).unwrap()).collect()
}

/// The hash of a range of leaves, from the leaves themselves.
fn part(leaves: &[Hash], (from, to): (u64, u64)) -> Hash {
    let mut edge = Edge::default();
    edge.grow(&leaves[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()]);
    edge.root()
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let vectors = vectors();
    let (leaves, roots) = (hashes(&vectors.leaves), hashes(&vectors.roots));
    let (mut edge, mut frontier) = (Edge::default(), Frontier::default());
    for (leaf, root) in leaves.iter().zip(&roots) {
        edge.grow(&[*leaf]);
        frontier.push(*leaf);
        assert_eq!((edge.root(), frontier.root()), (*root, *root));
    }
    let root = |size: u64| &roots[usize::try_from(size - 1).unwrap()];
    assert!(vectors.inclusion.len() > 80 && vectors.consistency.len() > 80);
    for Inclusion {
        index,
        size,
        hashes: proof,
    } in &vectors.inclusion
    {
        let proof = hashes(proof);
        let made: Vec<Hash> = inclusion(*index, *size)
            .into_iter()
            .map(|range| part(&leaves, range))
            .collect();
        assert_eq!(made, proof, "{index} in {size}");
        assert!(is_included(
            &leaves[usize::try_from(*index).unwrap()],
            *index,
            *size,
            &proof,
            root(*size)
        ));
    }
    for Consistency {
        from,
        to,
        hashes: proof,
    } in &vectors.consistency
    {
        let proof = hashes(proof);
        let made: Vec<Hash> = consistency(*from, *to)
            .into_iter()
            .map(|range| part(&leaves, range))
            .collect();
        assert_eq!(made, proof, "{from} to {to}");
        assert!(is_consistent((*from, root(*from)), (*to, root(*to)), &proof));
    }
    assert_eq!(tree::fold(&[]), verifier::empty_root());
}

#[test]
fn keys_and_notes_are_those_of_another_implementation() {
    let vectors = vectors();
    let key = VerifierKey::parse(&vectors.verifier_key).unwrap();
    let text = open_note(vectors.note.as_bytes(), std::slice::from_ref(&key)).unwrap();
    assert_eq!(text, vectors.text);
    let checkpoint = Checkpoint::parse(text).unwrap();
    let seed = unhex(vectors.seed.as_bytes()).unwrap();
    let ours = SealingKey::from_seed(key.name(), seed).unwrap();
    assert_eq!(ours.verifier_key(), vectors.verifier_key);
    let signed = note::checkpoint(&ours, Lane(3), checkpoint.size, &checkpoint.root, &checkpoint.heads).unwrap();
    assert_eq!(signed, vectors.note);
}
