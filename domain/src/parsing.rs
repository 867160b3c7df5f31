//! What a parser says of what it could not read, without what that was.
//!
//! Whoever pastes a password or a token into the wrong field must not meet it again in an answer, and with it in whatever keeps
//! answers. Parsers quote what they found; what they expected, and where, is enough to mend a request by.

/// How serde begins to say what it found, and how it goes on to what it expected.
const FINDS: [&str; 4] = [
    "invalid type: ",
    "invalid value: ",
    "unknown variant ",
    "unknown field ",
];
const EXPECTS: [&str; 2] = [", expected ", ", there are no "];
/// What comes before the way to a parameter of an address.
const OF_A_QUERY: &str = "Failed to deserialize query string";
/// Longest name of a field that is said again, in characters.
const NAME_CHARS_MAX: usize = 40;

/// The message without the value that it is about. The name of an unknown field stays where it reads like one of ours.
pub fn without_values(message: &str) -> String {
    let found = FINDS
        .iter()
        .filter_map(|finds| Some((message.find(finds)?, finds)))
        .min();
    let Some((at, finds)) = found else {
        return message.to_owned();
    };
    let (way, rest) = message.split_at(at);
    let rest = &rest[finds.len()..];
    // The way to a field that is none of ours is made of what somebody sent.
    let way = way.split(": ").filter(|part| *part == OF_A_QUERY || is_way(part));
    let before: String = way
        .map(|part| format!("{part}: "))
        .chain([(*finds).to_owned()])
        .collect();
    let before = before.as_str();
    // A value may hold such words itself; the last ones are the parser's.
    let Some(end) = EXPECTS.iter().filter_map(|expects| rest.rfind(expects)).max() else {
        return before.trim_end_matches([' ', ':']).to_owned();
    };
    let (value, expected) = rest.split_at(end);
    let is_field = *finds == "unknown field " && is_name(value.trim_matches('`'));
    // `string "…"`, `integer `…``: the kind of value is no secret.
    let kept = if is_field {
        value
    } else {
        value.split(['`', '"']).next().unwrap_or_default().trim_end()
    };
    let before = if kept.is_empty() {
        before.trim_end_matches([' ', ':'])
    } else {
        before
    };
    format!("{before}{kept}{expected}")
}

/// Does it read like the way to a field of ours, such as `splits[0].category_id`?
pub fn is_way(text: &str) -> bool {
    // A list has some thousand items at most; a longer number may be a PIN.
    let is_index = |step: &str| step.len() <= 3 && step.bytes().all(|byte| byte.is_ascii_digit());
    !text.is_empty() && text.split(['.', '[', ']']).all(|step| is_index(step) || is_name(step))
}

/// Does it read like the name of a field of ours?
pub fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_to_a_field_of_ours() {
        assert!(is_way("splits[12].category_id") && is_way("note"));
        for text in ["", "27491308", "splits[27491308]", "Hunter", "a b", "klr_A1", "."] {
            assert_eq!(is_way(text), text == ".", "{text}");
        }
    }

    #[test]
    fn a_value_is_not_said_again_and_what_was_expected_is() {
        for (message, expected) in [
            (
                r#"invalid type: string "hunter2", expected u64 at line 1 column 9"#,
                "invalid type: string, expected u64 at line 1 column 9",
            ),
            (
                "invalid type: integer `27491308`, expected a string at line 1 column 9",
                "invalid type: integer, expected a string at line 1 column 9",
            ),
            (
                r#"invalid value: string "a, expected b", expected a day"#,
                "invalid value: string, expected a day",
            ),
            (
                "unknown variant `hunter2`, expected one of `teen`, `child`",
                "unknown variant, expected one of `teen`, `child`",
            ),
            (
                "unknown field `klr_A1b2`, there are no fields",
                "unknown field, there are no fields",
            ),
            (
                "Failed to deserialize query string: unknown field `colour`, expected `limit`",
                "Failed to deserialize query string: unknown field `colour`, expected `limit`",
            ),
            (
                "Failed to deserialize query string: Hunter 2: unknown field `Hunter 2`, expected `limit`",
                "Failed to deserialize query string: unknown field, expected `limit`",
            ),
            (
                "Failed to deserialize query string: limit: invalid value: integer `7`, expected less",
                "Failed to deserialize query string: limit: invalid value: integer, expected less",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            (r#"invalid type: string "hunter2""#, "invalid type"),
            ("missing field `account_id`", "missing field `account_id`"),
            (
                "EOF while parsing a value at line 1 column 0",
                "EOF while parsing a value at line 1 column 0",
            ),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }
}
