//! The `nirantar` command.

/// Made for many small texts that come and go, which is what orders are: a fifth less time for a simulated year.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    nirantar::cli::main()
}
