//! Tokens that are none of ours, or not any more.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    bodies::send,
    world::{furnish, routes},
};
use crate::support::{Client, Household, Kinledger, wait_until};

#[test]
fn without_a_valid_token_every_route_that_asks_for_one_answers_401() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Moreiras", "EUR");
    let ids = furnish(&family);
    let log = family.export();
    let key = Key::known_to(&kinledger);
    let user_id = family.parent.client.get("/api/v1/auth/profile").accepted()["user_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let now = chrono::Utc::now().timestamp();
    let anybody = kinledger.client();
    wait_for_key(&anybody.with_token(&key.token(&user_id, now + 600)));

    let good = family.parent.client.token().to_owned();
    let (head, rest) = good.split_once('.').unwrap();
    let unsigned = format!(
        "{}.{}.",
        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0",
        rest.split('.').next().unwrap()
    );
    let refused = [
        anybody.clone(),
        anybody.with_token("garbage"),
        anybody.with_token(&"a".repeat(5_000)),
        anybody.with_token(&format!("{good}x")),
        anybody.with_token(&format!("{head}.e30.{}", rest.split('.').next_back().unwrap())),
        anybody.with_token(&unsigned),
        anybody.with_token(&family.parent.refresh_token),
        anybody.with_token(&key.token(&user_id, now - 60)),
        anybody.with_token(&Key::new().token(&user_id, now + 600)),
    ];
    let mut walked = 0;
    for route in routes(&kinledger).iter().filter(|route| route.asks_for_a_token()) {
        for client in &refused {
            let reply = send(client, route, &ids, &ids, &[]);
            assert_eq!(
                reply.refused().0,
                401,
                "{} {}: {}",
                route.method,
                route.path,
                reply.text()
            );
            walked += 1;
        }
    }
    assert!(walked > 300, "{walked}");
    assert_eq!(family.export(), log);
}

/// What a stolen session can still do is bounded: its tokens go on, its proof does not.
#[test]
fn without_a_fresh_proof_nothing_dangerous_is_done() {
    let kinledger = Kinledger::start();
    let family = Household::found(&kinledger, "The Moreiras", "EUR");
    let key = Key::known_to(&kinledger);
    let user_id = family.parent.client.get("/api/v1/auth/profile").accepted()["user_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let now = chrono::Utc::now().timestamp();
    // Such a token says nothing of a proof, as those of the release before.
    let stolen = kinledger.client().with_token(&key.token(&user_id, now + 600));
    wait_for_key(&stolen);

    let body = json!({"member_id": family.teen.member_id, "role": "partner"});
    let path = format!("/api/v1/families/{}/commands", family.id);
    let refused = stolen.post(&format!("{path}/change-role"), &body).refused();
    assert_eq!((refused.0, refused.1.as_str()), (403, "step-up-required"));
    let batch = json!([{"name": "change-role", "idempotency_key": Uuid::now_v7(), "body": body}]);
    let verdicts = stolen.post(&path, &batch).accepted();
    assert_eq!(verdicts["results"][0]["problem"]["type"], "/problems/step-up-required");
    assert_eq!(verdicts["results"][0]["problem"]["max_age_s"], 600);

    // What is not dangerous goes on, and with a fresh proof so does the rest.
    stolen
        .post(
            &format!("{path}/add-category"),
            &json!({"name": "Zoo", "kind": "expense"}),
        )
        .accepted();
    family
        .parent
        .client
        .post(&format!("{path}/change-role"), &body)
        .accepted();
}

/// A signing key that the process believes in, so that only the token's age is wrong.
struct Key {
    kid: String,
    public_key: Vec<u8>,
    private_key: EncodingKey,
}

impl Key {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let private_key = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        Self {
            kid: Uuid::new_v4().simple().to_string(),
            public_key: pair.public_key().as_ref().to_vec(),
            private_key,
        }
    }

    /// Put where the process looks for its keys, as an operator could; it cannot sign with it, only verify.
    fn known_to(kinledger: &Kinledger) -> Self {
        let key = Self::new();
        let running: Value =
            serde_json::from_slice(&std::fs::read(kinledger.data_dir().join("running.json")).unwrap()).unwrap();
        let url = running["database_url"].as_str().unwrap().to_owned();
        let insert = async {
            let pool = sqlx::PgPool::connect(&url).await?;
            sqlx::query(
                "insert into identity.signing_keys (kid, public_key, sealed_private_key, signs_from, retires_at)
                values ($1, $2, '', clock_timestamp() - interval '1 hour', clock_timestamp() + interval '1 hour')",
            )
            .bind(&key.kid)
            .bind(&key.public_key)
            .execute(&pool)
            .await?;
            pool.close().await;
            Ok::<(), sqlx::Error>(())
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(insert)
            .unwrap();
        key
    }

    /// A token of a session that nobody ended.
    fn token(&self, user_id: &str, exp: i64) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.kid.clone());
        let claims = json!({
            "iss": "kinledger", "aud": "kinledger-api", "sub": user_id, "sid": Uuid::new_v4(), "jti": Uuid::new_v4(),
            "iat": exp - 900, "nbf": exp - 900, "exp": exp,
        });
        jsonwebtoken::encode(&header, &claims, &self.private_key).unwrap()
    }
}

/// Keys are read again every two seconds.
fn wait_for_key(client: &Client) {
    let is_known = wait_until(Duration::from_secs(15), || client.get("/api/v1/families").status == 200);
    assert!(is_known, "the key did not become known");
}
