//! `cargo test --release --test simulation` runs the schedules of `tests/simulation`. They are a
//! test of the package `internals`, which does not run by itself. Arguments after `--` are passed on.

use std::{
    env,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."));
    command.args(["test", "-p", "internals", "--test", "schedules"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    match command.arg("--").args(env::args_os().skip(1)).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
