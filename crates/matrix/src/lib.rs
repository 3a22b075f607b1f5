//! The matrix: the real `suction-cup`, `install-package` and `tentacle`, killed at every system call that they make, and
//! with every call failing in every way that it can; and the power cut at every write.
//!
//! `cargo run --package matrix` runs all of it and writes a report; `cargo test` runs a sample. Nothing here links the
//! programs: they are run, as they are shipped.

pub mod case;
pub mod cli;
pub mod faults;
pub mod installer;
pub mod power;
pub mod report;
pub mod stage;
pub mod stand_in;
pub mod strace;
pub mod supervisor;
pub mod tentacle;

pub use case::{Choice, Scenario};
pub use report::Report;
pub use stage::{Kit, Programs};

/// Everything that is played with system calls interfered with.
pub fn scenarios() -> Vec<Box<dyn Scenario>> {
    let supervised = supervisor::Supervised::ALL.into_iter().map(|one| Box::new(one) as Box<dyn Scenario>);
    let installed = installer::Installing::ALL.into_iter().map(|one| Box::new(one) as Box<dyn Scenario>);
    let real = tentacle::Real::ALL.into_iter().map(|one| Box::new(one) as Box<dyn Scenario>);
    supervised.chain(installed).chain(real).collect()
}
