use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::Utc;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

struct Signer {
    verifier: TokenVerifier,
    key: EncodingKey,
}

impl Signer {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public_key = pair.public_key().as_ref().to_vec();
        let verifier = TokenVerifier::new(vec![PublicKey {
            kid: "k1".to_owned(),
            public_key,
        }]);
        Self {
            verifier,
            key: EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref()),
        }
    }

    fn sign(&self, change: impl FnOnce(&mut Header, &mut Value)) -> String {
        let now = Utc::now().timestamp();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some("k1".to_owned());
        let mut claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "usr_00000000-0000-0000-0000-000000000001",
            "sid": Uuid::from_u128(2),
            "iat": now,
            "nbf": now,
            "exp": now + 900,
            "jti": Uuid::from_u128(3),
        });
        change(&mut header, &mut claims);
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }

    fn verify(&self, change: impl FnOnce(&mut Header, &mut Value)) -> Result<SignedIn, TokenError> {
        self.verifier.verify(&self.sign(change))
    }
}

#[test]
fn a_token_of_ours_names_person_and_session() {
    let signed_in = Signer::new().verify(|_, _| {}).unwrap();
    assert_eq!(signed_in.user_id, UserId::from_uuid(Uuid::from_u128(1)));
    assert_eq!(signed_in.session_id, Uuid::from_u128(2));
}

#[test]
fn a_token_counts_from_its_beginning_to_its_end_give_or_take_the_leeway() {
    let signer = Signer::new();
    let now = Utc::now().timestamp();
    assert!(signer.verify(|_, claims| claims["exp"] = json!(now - 2)).is_ok());
    assert_eq!(
        signer.verify(|_, claims| claims["exp"] = json!(now - 10)),
        Err(TokenError::Expired)
    );
    assert!(signer.verify(|_, claims| claims["nbf"] = json!(now + 2)).is_ok());
    assert_eq!(
        signer.verify(|_, claims| claims["nbf"] = json!(now + 10)),
        Err(TokenError::Invalid)
    );
}

#[test]
fn a_cached_token_still_expires() {
    let signer = Signer::new();
    let token = signer.sign(|_, _| {});
    assert!(signer.verifier.verify(&token).is_ok());
    let key: [u8; 32] = Sha256::digest(&token).into();
    let mut cached = signer.verifier.cache.get(&key).unwrap();
    cached.expires_at = Utc::now().timestamp() - LEEWAY_SECONDS - 1;
    signer.verifier.cache.insert(key, cached, 0);
    assert_eq!(signer.verifier.verify(&token), Err(TokenError::Expired));
    assert!(signer.verifier.cache.get(&key).is_none());
}

#[test]
fn every_claim_is_required_and_of_its_type() {
    let signer = Signer::new();
    for name in ["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti"] {
        let missing = signer.verify(|_, claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert!(missing.is_err(), "without {name}");
        for wrong in [
            json!(null),
            json!("2099-01-01"),
            json!("99999999999"),
            json!([]),
            json!({"a": 1}),
        ] {
            assert!(
                signer.verify(|_, claims| claims[name] = wrong.clone()).is_err(),
                "{name} = {wrong}"
            );
        }
    }
}

#[test]
fn a_token_for_somebody_else_or_of_another_type_is_refused() {
    let signer = Signer::new();
    assert!(signer.verify(|_, claims| claims["iss"] = json!("elsewhere")).is_err());
    assert!(signer.verify(|_, claims| claims["aud"] = json!("elsewhere")).is_err());
    assert!(signer.verify(|header, _| header.typ = Some("JWT".to_owned())).is_err());
    assert!(signer.verify(|header, _| header.typ = None).is_err());
    assert!(signer.verify(|header, _| header.kid = None).is_err());
    assert!(signer.verify(|header, _| header.kid = Some("k2".to_owned())).is_err());
    assert!(
        signer
            .verify(|header, _| header.crit = Some(vec!["b64".to_owned()]))
            .is_err()
    );
}

#[test]
fn where_a_token_says_its_key_is_does_not_matter() {
    let signer = Signer::new();
    assert!(
        signer
            .verify(|header, _| header.jku = Some("https://elsewhere.example/jwks.json".to_owned()))
            .is_ok()
    );
    let stranger = Signer::new();
    let forged = stranger.sign(|header, _| header.jku = Some("https://elsewhere.example/jwks.json".to_owned()));
    assert_eq!(signer.verifier.verify(&forged), Err(TokenError::Invalid));
}

#[test]
fn an_ended_session_is_refused_at_once_even_when_cached() {
    let signer = Signer::new();
    let token = signer.sign(|_, _| {});
    assert!(signer.verifier.verify(&token).is_ok());
    signer.verifier.revoke(Uuid::from_u128(2));
    assert_eq!(signer.verifier.verify(&token), Err(TokenError::SessionEnded));
}

#[test]
fn what_a_withdrawn_key_signed_goes_with_it() {
    let signer = Signer::new();
    let token = signer.sign(|_, _| {});
    assert!(signer.verifier.verify(&token).is_ok());
    signer.verifier.replace_keys(Vec::new());
    assert_eq!(signer.verifier.verify(&token), Err(TokenError::Invalid));
}
