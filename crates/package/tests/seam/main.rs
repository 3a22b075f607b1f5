//! Tests of the whole crate through its public functions and its program, on real archives in temporary folders.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod common;
mod hostile;
mod install;
mod pack;
mod program;
