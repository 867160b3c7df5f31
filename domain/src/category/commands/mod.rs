//! Every command of a category, one line each.

mod add_category;

pub use add_category::AddCategory;
