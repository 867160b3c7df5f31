//! Rows to answers: one file per view.
//!
//! Every view of a family goes the same way ([`serve`]): who asks and in which role is read from the members' rows in the same
//! read-only snapshot as the answer, the database itself shows that transaction nothing of another family, and the answer says
//! up to which `family_seq` it is. What a role may see stands beside each view, in [`views`]. Answers come from rows alone; this
//! crate knows neither the log nor commands.

pub mod amount;
pub mod answer;
pub mod cache;
pub mod cursor;
mod error;
mod etag;
mod openapi;
mod params;
mod places;
mod scope;
pub mod serve;
mod state;
pub mod view;
pub mod views;

pub use openapi::openapi_paths;
pub use state::QueryState;

/// All routes of this crate.
pub fn router(state: QueryState) -> axum::Router {
    let mut router = axum::Router::new().route(views::families::PATH, axum::routing::get(views::families::families));
    for view in views::VIEWS {
        router = router.route(&view.path(), (view.route)());
    }
    router.with_state(state)
}
