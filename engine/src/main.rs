//! The `nirantar` command.

fn main() -> std::process::ExitCode {
    nirantar::cli::main()
}
