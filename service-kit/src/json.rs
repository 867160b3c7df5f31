//! How deep a JSON text may nest. Nothing of ours nests deeper than a handful; a reader that follows a stranger's brackets down
//! spends its stack on them.

use crate::problem::Problem;

/// Objects and lists within one another, at most.
pub const DEPTH_MAX: usize = 32;

/// Refuses what nests deeper than [`DEPTH_MAX`], before anything is made of it. Whether it is JSON at all is the parser's matter.
///
/// # Errors
/// 400.
pub fn within_depth(body: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Problem::malformed(format!("the body nests deeper than {DEPTH_MAX}")));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_are_taken_and_thirty_three_are_not() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(within_depth(nested(DEPTH_MAX).as_bytes()).is_ok());
            assert!(within_depth(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        }
        assert!(within_depth("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn brackets_beside_one_another_and_in_texts_do_not_count() {
        let beside = format!("[{}1]", "[],{},".repeat(1_000));
        assert!(within_depth(beside.as_bytes()).is_ok());
        let text = serde_json::json!({ "note": format!(r#"\"{}"#, "[{".repeat(1_000)) }).to_string();
        assert!(within_depth(text.as_bytes()).is_ok());
        assert!(within_depth(format!(r#"["\\",{}]"#, "[".repeat(40)).as_bytes()).is_err());
    }
}
