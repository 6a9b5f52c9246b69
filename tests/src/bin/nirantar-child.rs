//! The `nirantar` command as a binary of this package, so that its tests can start it by `CARGO_BIN_EXE_nirantar-child`.

fn main() -> std::process::ExitCode {
    nirantar::cli::main()
}
