//! The program as it is shipped: one file that needs nothing of the machine, and is small.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Place, STAY, can};

/// What it is shipped for on x86-64.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Most bytes that it may have.
const SIZE_MAX: u64 = 700 * 1024;

/// Kinds of program headers: the name of a loader.
const INTERPRETER: u32 = 3;

/// Builds it as it is shipped; `None` where the target is not installed.
fn build() -> Option<PathBuf> {
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().ok()?;
    let library = String::from_utf8_lossy(&library.stdout).trim().to_owned();
    if !can(&format!("building for {TARGET}"), "test", &["-d", &library]) {
        return None;
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--profile", "supervisor", "--package", "suction-cup"]);
    command.args(["--target", TARGET, "--message-format", "json"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = said.rsplit_once("\"executable\":\"").unwrap();
    Some(rest.split_once('"').unwrap().0.into())
}

/// The kinds of the program headers of a 64-bit program.
fn headers(program: &[u8]) -> Vec<u32> {
    let number = |at: usize, length: usize| {
        program[at..at + length].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).map(|index| u32::try_from(number(start + index * size, 4)).unwrap()).collect()
}

#[test]
fn the_shipped_program_is_static_and_small() {
    let Some(path) = build() else { return };
    let program = fs::read(&path).unwrap();
    assert!(program.len() as u64 <= SIZE_MAX, "{} bytes", program.len());
    assert!(!headers(&program).contains(&INTERPRETER), "it asks for a loader");
    let version = Command::new(&path).arg("--version").env_clear().output().unwrap();
    assert!(version.stdout.starts_with(b"suction-cup "), "{version:?}");
    // And it does what the one under test does.
    let place = Place::new();
    place.install("1.0.0", STAY);
    let mut cup = place.run_with(&path, &[], Stdio::null());
    place.wait_for_starts(1);
    assert_eq!(cup.stop().code(), Some(0));
}
