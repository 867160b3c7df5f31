//! Looking back: past views, over HTTP and from the command line, against what the views said then.

mod limits;
mod moments;
mod naive;
mod random;
pub mod stack;
mod streams;
mod ten_thousand;
