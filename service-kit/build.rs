//! The migrations are embedded: a changed one must build anew.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
