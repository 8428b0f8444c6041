//! The rayward binary.
fn main() {}
