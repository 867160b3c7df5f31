//! Past views: what any view said at any moment, made again from the log.
//!
//! The views answer for the present. Here the family's log up to a moment is folded by the same projections into tables of one
//! request ([`past`]), and the same views read them, so that an answer has the shape and the bytes it had then. Beside that
//! bound by recording goes the views' own bound by day, `effective_on`: what was known then of what counted until that day.
//!
//! [`serve`] says who may ask and what bounds a request; [`dump`] writes everything there is at a moment.

pub mod dump;
mod openapi;
pub mod past;
mod place;
pub mod serve;

pub use openapi::openapi_paths;
pub use serve::{ReplayLimits, ReplayState, router};
