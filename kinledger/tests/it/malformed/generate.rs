//! Requests that are wrong in one or several ways.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use super::odd::Odd;
use crate::isolation::{Ids, Route, body_of};

pub struct Generator<'a> {
    pub random: StdRng,
    ids: &'a Ids,
    token: &'a str,
    spare_token: &'a str,
}

pub const IDS: &[&str] = &[
    "",
    "x",
    "fam_",
    "acc_00000000-0000-0000-0000-000000000000",
    "..%2f..%2fetc",
    "%00",
    "%FF%FE",
    "%F0%28%8C%28",
    "💶",
    "-1",
    "null",
];
const NUMBERS: &[&str] = &[
    "-1",
    "0",
    "1000000000",
    "99999999999999999999",
    "1e3",
    "0x10",
    "",
    "NaN",
    "1.5",
    "%20",
    "%D9%A3",
    "-9223372036854775808",
];
pub const DAYS: &[&str] = &[
    "2025-02-30",
    "0000-00-00",
    "99999-01-01",
    "-0001-01-01",
    "%2B262143-12-31",
    "1969-12-31",
    "yesterday",
    "",
    "2025-1-1",
    "20250101",
    "9999-12-31",
];
const TEXTS: &[&str] = &[
    "%00",
    "%FF",
    "%",
    "%zz",
    "%25%5F%5C",
    "'%3B%20drop%20table%20views.entries%3B--",
    "%E2%80%AE",
    "a%0D%0Ab",
    "",
];

impl<'a> Generator<'a> {
    pub fn new(random: StdRng, ids: &'a Ids, token: &'a str, spare_token: &'a str) -> Self {
        Self {
            random,
            ids,
            token,
            spare_token,
        }
    }

    /// A request to a route that is wrong somewhere.
    pub fn odd(&mut self, route: &Route) -> Odd {
        let mut odd = self.sound(route);
        let ways = if route.method == "POST" { 8 } else { 4 };
        match self.random.random_range(0..ways) {
            0 => odd.target = self.odd_path(route),
            1 | 2 => {
                odd.target = format!(
                    "{}?{}",
                    odd.target.split('?').next().unwrap_or_default(),
                    self.odd_query(route)
                )
            }
            3 => self.odd_head(&mut odd),
            4 => odd.body = Some(self.odd_bytes(&odd.body.clone().unwrap_or_default())),
            _ => odd.body = Some(self.odd_json(&odd.body.clone().unwrap_or_default())),
        }
        odd
    }

    /// Bodies larger than any route takes.
    pub fn oversized(&mut self) -> Vec<Odd> {
        let family = format!("/api/v1/families/{}", self.ids.family);
        let targets = [
            ("/api/v1/auth/register".to_owned(), 20 * 1024),
            ("/api/v1/families".to_owned(), 17 * 1024 * 1024),
            (format!("{family}/commands/add-expense"), 70 * 1024),
            (format!("{family}/commands/sync-bank"), 17 * 1024 * 1024),
            (format!("{family}/commands"), 17 * 1024 * 1024),
            (
                format!("{family}/imports?account_id={}", self.ids.account),
                40 * 1024 * 1024,
            ),
        ];
        let mut odds = Vec::new();
        for (target, size) in targets {
            for token in [Some(self.token), None] {
                let mut headers = self.headers(token);
                headers.push(("content-type".to_owned(), b"application/json".to_vec()));
                odds.push(Odd {
                    method: "POST".to_owned(),
                    target: target.clone(),
                    headers,
                    body: Some(vec![b' '; size]),
                });
            }
        }
        odds
    }

    /// A request as it should be.
    fn sound(&mut self, route: &Route) -> Odd {
        let target = route
            .path
            .replace("{family_id}", &self.ids.family)
            .replace("{member_id}", &self.ids.member);
        let target = target.replace("{command_id}", &self.ids.command);
        // What succeeds now and then must not take the place away from who asks for the rest.
        let ends_a_place = ["leave-family", "delete-family", "erase-member"];
        let ends_a_place = route.command().is_some_and(|name| ends_a_place.contains(&name));
        let token = if ends_a_place || route.path.contains("/auth/") {
            self.spare_token
        } else {
            self.token
        };
        let mut headers = self.headers(Some(token));
        let mut body = None;
        if route.method == "POST" {
            let (content_type, bytes) = self.sound_body(route);
            headers.push(("content-type".to_owned(), content_type.as_bytes().to_vec()));
            body = Some(bytes);
        }
        let target = if route.path.ends_with("/imports") && route.method == "POST" {
            format!("{target}?account_id={}", self.ids.account)
        } else {
            target
        };
        Odd {
            method: route.method.clone(),
            target,
            headers,
            body,
        }
    }

    fn sound_body(&mut self, route: &Route) -> (&'static str, Vec<u8>) {
        let json = |value: Value| ("application/json", value.to_string().into_bytes());
        match route.path.rsplit('/').next().unwrap_or_default() {
            "register" => json(json!({"email": "odd@example.org", "password": "short", "display_name": "Odd"})),
            "login" => json(json!({"email": "odd@example.org", "password": "not the one it is"})),
            "refresh" => json(json!({"refresh_token": "nothing of ours"})),
            "join" => json(json!({"code": "0123-4567"})),
            _ => body_of(route, self.ids),
        }
    }

    fn headers(&mut self, token: Option<&str>) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![(
            "idempotency-key".to_owned(),
            Uuid::from_u128(self.random.random()).to_string().into_bytes(),
        )];
        headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}").into_bytes())));
        headers
    }

    fn odd_path(&mut self, route: &Route) -> String {
        let ids = self.ids;
        let long = "a".repeat(6_000);
        let mut place = |good: &str| match self.random.random_range(0..4) {
            0 => good.to_owned(),
            1 => long.clone(),
            _ => self.pick(IDS).replace('💶', "%F0%9F%92%B6"),
        };
        let (family, member, command) = (place(&ids.family), place(&ids.member), place(&ids.command));
        let path = route
            .path
            .replace("{family_id}", &family)
            .replace("{member_id}", &member)
            .replace("{command_id}", &command);
        match self.random.random_range(0..6) {
            0 => format!("{path}/"),
            1 => path.replacen("/commands/", "/commands/%FF", 1),
            2 => path.replace('-', "%2D").replace("/api/", "//api/"),
            _ => path,
        }
    }

    fn odd_query(&mut self, route: &Route) -> String {
        let mut names: Vec<String> = Vec::new();
        for parameter in route.operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
        {
            names.extend(parameter["name"].as_str().map(str::to_owned));
        }
        names.extend(
            [
                "limit",
                "after",
                "unknown",
                "csv.delimiter",
                "currency",
                "csv.columns.amount",
                "account_id",
            ]
            .map(str::to_owned),
        );
        let mut pairs = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let name = names.choose(&mut self.random).cloned().unwrap_or_default();
            let value = match name.as_str() {
                // A number far ahead is no mistake: it is waited for, and that takes its time.
                "min_family_seq" => ["-1", "x", "", "99999999999999999999", "1"]
                    .choose(&mut self.random)
                    .map(ToString::to_string),
                "from" | "to" | "on" | "effective_on" | "recorded_at" => Some(self.pick(DAYS)),
                "limit" | "months" | "family_seq" | "after_family_seq" => Some(self.pick(NUMBERS)),
                "after" => Some(self.odd_cursor()),
                _ => match self.random.random_range(0..3) {
                    0 => Some(self.pick(TEXTS)),
                    1 => Some(self.pick(NUMBERS)),
                    _ => Some("x".repeat(5_000)),
                },
            };
            pairs.push(format!("{name}={}", value.unwrap_or_default()));
        }
        match self.random.random_range(0..6) {
            0 => format!("{0}&{0}", pairs.join("&")),
            1 => format!("&&={}&", pairs.join("&=&")),
            2 => pairs.join(";"),
            _ => pairs.join("&"),
        }
    }

    fn odd_cursor(&mut self) -> String {
        let cursors = [
            "ffffffffffffffffffffffff",
            "000000000000000000000000",
            "7fffffff7fffffffffffffff",
            "800000008000000000000000",
            "00",
            "zz",
            "",
        ];
        self.pick(&cursors)
    }

    fn odd_head(&mut self, odd: &mut Odd) {
        let garbage: &[&[u8]] = &[
            b"",
            b"\xff\xfe",
            b"x",
            b"00000000-0000-0000-0000-00000000000",
            b"\"",
            b"-1",
            b"W/\"\"",
            b"99999999999999999999",
        ];
        match self.random.random_range(0..7) {
            0 => odd.headers.retain(|(name, _)| name != "idempotency-key"),
            1 => odd.set(
                "idempotency-key",
                garbage.choose(&mut self.random).copied().unwrap_or_default(),
            ),
            2 => odd.set(
                "if-match",
                garbage.choose(&mut self.random).copied().unwrap_or_default(),
            ),
            3 => odd.set(
                "if-none-match",
                garbage.choose(&mut self.random).copied().unwrap_or_default(),
            ),
            4 => {
                let types: &[&[u8]] = &[
                    b"",
                    b"text/plain",
                    b"multipart/form-data",
                    b"multipart/form-data; boundary=x",
                    b"application/json; charset=utf-7",
                    b"\xff",
                ];
                odd.set(
                    "content-type",
                    types.choose(&mut self.random).copied().unwrap_or_default(),
                );
            }
            5 => odd.set(
                "authorization",
                garbage.choose(&mut self.random).copied().unwrap_or_default(),
            ),
            _ => {
                odd.method = ["PUT", "PATCH", "DELETE", "BREW"]
                    .choose(&mut self.random)
                    .copied()
                    .unwrap_or("PUT")
                    .to_owned()
            }
        }
        odd.set("traceparent", b"00-\xff");
    }

    /// Bytes that are no JSON, or not all of it.
    pub fn odd_bytes(&mut self, sound: &[u8]) -> Vec<u8> {
        match self.random.random_range(0..9) {
            0 => Vec::new(),
            1 => sound[..self.random.random_range(0..=sound.len())].to_vec(),
            2 => [sound, b"}"].concat(),
            3 => [b"[".repeat(20_000), b"]".repeat(20_000)].concat(),
            4 => b"{\"a\":".repeat(5_000),
            5 => (0..200).map(|_| self.random.random()).collect(),
            6 => [b"\xef\xbb\xbf", sound].concat(),
            7 => {
                let mut bytes = sound.to_vec();
                if !bytes.is_empty() {
                    let at = self.random.random_range(0..bytes.len());
                    bytes[at] = self.random.random();
                }
                bytes
            }
            _ => [
                "null",
                "[]",
                "\"x\"",
                "1",
                "NaN",
                "{}",
                " ",
                "{\"commands\":[]}",
                "[{}]",
                "true",
            ]
            .choose(&mut self.random)
            .map_or_else(Vec::new, |text| text.as_bytes().to_vec()),
        }
    }

    pub fn pick(&mut self, from: &[&str]) -> String {
        from.choose(&mut self.random).copied().unwrap_or_default().to_owned()
    }
}
