//! Whole Kinledgers in one process, in which nothing is by chance: two of them that are asked the same do the same, byte by byte.
//!
//! The log's clock is a counter, what is new is named by keys of the test's own, and people are numbered. What is left to differ
//! between two worlds is what they were told.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use command_api::identity::Families;
use domain::{
    actor::Role,
    id::{CommandId, FamilyId, MemberId, UserId},
};
use event_store::Lane;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{as_of::stack::Stack, support::consent};

/// A tick of the log's clock is a second, so that no two events are of one instant.
const CLOCK: &str = r"
    create sequence log.ticks;
    create function log.tick() returns timestamptz language sql volatile security definer
    as $$ select '2026-11-20T10:00:00Z'::timestamptz + nextval('log.ticks') * interval '1 second' $$;
    do $do$
    declare
        v_function text;
    begin
        select pg_get_functiondef(p.oid) into strict v_function
        from pg_proc p
        where p.pronamespace = 'log'::regnamespace and p.proname = 'append_lanes';
        if v_function not like '%clock_timestamp()%' then
            raise exception 'the append asks another clock';
        end if;
        execute replace(v_function, 'clock_timestamp()', 'log.tick()');
    end
    $do$";

/// An answer as somebody gets it: all of it but what names the moment it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self}"))
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        let problem = self.json();
        let kind = problem["type"].as_str().unwrap_or_default();
        kind.rsplit(['/', ':']).next().unwrap_or_default().to_owned()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// One Kinledger with families in it.
pub struct World {
    pub stack: Stack,
    projected: HashMap<i16, i64>,
}

/// A member who has joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub role: Role,
    pub user: UserId,
    pub member: MemberId,
}

/// A family and who is in it.
#[derive(Clone, Debug)]
pub struct Home {
    pub family: FamilyId,
    pub people: Vec<Person>,
    seed: Uuid,
    keys: u32,
}

impl Home {
    /// The first of a role.
    pub fn first(&self, role: Role) -> Person {
        *self.people.iter().find(|person| person.role == role).unwrap()
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/families/{}/{rest}", self.family)
    }

    /// A key nobody has used yet, the same in every world.
    pub fn key(&mut self) -> Uuid {
        self.keys += 1;
        self.key_of(self.keys)
    }

    pub fn key_of(&self, number: u32) -> Uuid {
        Uuid::new_v5(&self.seed, &number.to_be_bytes())
    }

    /// Keys used so far.
    pub fn keys(&self) -> u32 {
        self.keys
    }
}

impl World {
    pub async fn start() -> Self {
        let stack = Stack::start().await;
        let owner = stack.database.superuser().await;
        sqlx::raw_sql(CLOCK).execute(&owner).await.unwrap();
        owner.close().await;
        Self {
            stack,
            projected: HashMap::new(),
        }
    }

    /// A family of these roles, the first its founder; everybody has joined.
    pub async fn found(&self, seed: Uuid, roles: &[Role]) -> Home {
        let founder = user_of(seed, 0);
        let mut home = Home {
            family: FamilyId::from_uuid(Uuid::nil()),
            people: Vec::new(),
            seed,
            keys: 0,
        };
        let key = home.key();
        let body = json!({"name": "Lovelace", "currency": "EUR", "zone": "Europe/Berlin", "country": "DE"});
        let founded = self.post(founder, "/api/v1/families", key, &body).await;
        assert_eq!(founded.status, StatusCode::CREATED, "{founded}");
        let founded = founded.json();
        home.family = founded["family_id"].as_str().unwrap().parse().unwrap();
        home.people.push(Person {
            role: roles[0],
            user: founder,
            member: member_of(&founded),
        });
        for role in &roles[1..] {
            self.joins(&mut home, *role).await;
        }
        home
    }

    /// The founder adds somebody, who joins.
    pub async fn joins(&self, home: &mut Home, role: Role) -> Person {
        let (number, founder) = (home.people.len(), home.people[0].user);
        let mut body = json!({"display_name": format!("{} {number}", role.as_str()), "role": role, "on_leaderboard": number.is_multiple_of(2)});
        if role.is_young() {
            body["consent"] = consent();
        }
        let added = self.accepted(home, founder, "add-member", &body).await;
        let (user, member) = (user_of(home.seed, number), member_of(&added));
        let key = CommandId::from_uuid(home.key());
        self.stack.api.join(home.family, member, user, key).await.unwrap();
        let person = Person { role, user, member };
        home.people.push(person);
        person
    }

    /// Sends a command under a fresh key.
    pub async fn command(&self, home: &mut Home, by: UserId, name: &str, body: &Value) -> Answer {
        let key = home.key();
        self.post(by, &home.path(&format!("commands/{name}")), key, body).await
    }

    /// The receipt of a command that is accepted.
    pub async fn accepted(&self, home: &mut Home, by: UserId, name: &str, body: &Value) -> Value {
        let answer = self.command(home, by, name, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{name} {body}: {answer}");
        answer.json()
    }

    pub async fn post(&self, by: UserId, path: &str, key: Uuid, body: &Value) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("idempotency-key", key.to_string())
            .header("authorization", format!("Bearer {}", self.stack.token(by)))
            .body(Body::from(body.to_string()))
            .unwrap();
        read(self.stack.answer(request).await).await
    }

    /// Uploads a bank's file under a fresh key.
    pub async fn upload(&self, home: &mut Home, by: UserId, account: &str, file: &str) -> Answer {
        let key = home.key();
        let request = Request::post(home.path(&format!("imports?account_id={account}")))
            .header("content-type", "text/csv")
            .header("idempotency-key", key.to_string())
            .header("authorization", format!("Bearer {}", self.stack.token(by)))
            .body(Body::from(file.to_owned()))
            .unwrap();
        read(self.stack.answer(request).await).await
    }

    pub async fn get(&self, by: UserId, path: &str) -> Answer {
        let mut answer = read(self.stack.send(by, path).await).await;
        if path.contains("/members/") || path == "/api/v1/auth/export" {
            answer.body = undated(&answer.body);
        }
        answer
    }

    /// Asks again with the tag of an answer.
    pub async fn get_if_new(&self, by: UserId, path: &str, etag: &str) -> Answer {
        let request = Request::get(path)
            .header("authorization", format!("Bearer {}", self.stack.token(by)))
            .header("if-none-match", etag)
            .body(Body::empty())
            .unwrap();
        read(self.stack.answer(request).await).await
    }

    /// Brings all rows up to the log.
    pub async fn project(&mut self) {
        let lanes = self.stack.api.log().lanes().await.unwrap();
        for lane in 0..lanes {
            let checkpoint = match self.projected.entry(lane) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.stack.applier.checkpoint(Lane(lane)).await.unwrap()),
            };
            while !self.stack.project(Lane(lane), checkpoint).await.is_empty() {}
        }
    }

    pub async fn stop(self) {
        self.stack.database.drop().await;
    }
}

fn user_of(seed: Uuid, number: usize) -> UserId {
    UserId::from_uuid(Uuid::new_v5(&seed, format!("user {number}").as_bytes()))
}

fn member_of(receipt: &Value) -> MemberId {
    let events = receipt["events"].as_array().unwrap();
    let added = events.iter().find(|event| event["type"] == "MemberAdded").unwrap();
    added["payload"]["member_id"].as_str().unwrap().parse().unwrap()
}

/// A person's export without the moment it was made at, and without those at which they asked for others.
fn undated(export: &[u8]) -> Vec<u8> {
    if let Ok(Value::Object(mut file)) = serde_json::from_slice::<Value>(export) {
        file.remove("made_at");
        file.remove("security_events");
        return Value::Object(file).to_string().into_bytes();
    }
    let page = String::from_utf8_lossy(export);
    let lines = page.lines().filter(|line| !line.starts_with("<p>Written on "));
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let body = axum::body::to_bytes(body, 1 << 26).await.unwrap().to_vec();
    Answer {
        status: parts.status,
        headers,
        body,
    }
}
