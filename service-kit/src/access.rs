//! The role matrix over HTTP: a row of it, asked by a signed-in member.

use domain::{
    access::{Cell, Row},
    actor::Role,
};

use crate::{auth::SignedIn, problem::Problem};

/// What a member of this role may do; never [`Cell::No`].
///
/// # Errors
/// 403 when that is nothing.
pub fn check(row: &Row, role: Role) -> Result<Cell, Problem> {
    match row.of(role) {
        Cell::No => Err(Problem::not_allowed(format!(
            "the role {} may not use {}",
            role.as_str(),
            row.name
        ))),
        cell => Ok(cell),
    }
}

/// Asks for the proof that a row asks for. It comes before anything that depends on the family: an old proof tells a stranger
/// nothing of which families there are.
///
/// # Errors
/// 403 `step-up-required`.
pub fn check_proof(row: &Row, signed_in: SignedIn, now: i64) -> Result<(), Problem> {
    if row.step_up {
        signed_in.require_step_up(now)
    } else {
        Ok(())
    }
}
