//! Every command of an import, one line each.

mod undo_import;

pub use undo_import::UndoImport;
