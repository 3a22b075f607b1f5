//! Rollouts: one wish each to bring a set of machines to one Tentacle version.
//!
//! Invariant: `phase`, `strategy`, `absent`, `calendar`, `hindrance`, `state`, `plan`, `ahead`, `advance`, `gate`, `settle`, `course` and `why`
//! are pure. They import no database, no network and no runtime, and read no clock.

pub mod absent;
mod advance;
mod ahead;
pub mod automatic;
pub mod calendar;
pub mod care;
pub mod course;
pub mod create;
mod execute;
pub mod freezes;
pub mod gate;
pub mod hands;
pub mod hindrance;
pub mod late;
pub mod look;
pub mod orchestrator;
pub mod phase;
pub mod plan;
pub mod preview;
pub mod settle;
pub mod state;
pub mod strategy;
pub mod undo;
pub mod why;

#[cfg(test)]
mod drawing_tests;
