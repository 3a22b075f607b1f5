//! `matrix`: runs the matrix, or a part of it. Reads the command line, prints the report, returns the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use matrix::cli::{self, Cli};
use matrix::stand_in;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(stand_in::WORD) {
        return stand_in::run();
    }
    match cli::run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
