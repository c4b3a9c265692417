//! The program `pronk`.

mod cli;
mod platform;

fn main() -> std::process::ExitCode {
    platform::prepare();
    cli::main()
}
