//! kinledger
fn main(){}
