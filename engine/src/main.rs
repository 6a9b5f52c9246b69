//! The `nirantar` command.
fn main() {}
