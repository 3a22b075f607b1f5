//! Rollouts: one wish each to bring a set of machines to one Tentacle version.
//!
//! Invariant: `phase`, `state`, `plan`, `advance`, `gate` and `settle` are pure. They import no database, no network and no
//! runtime, and read no clock.

mod advance;
pub mod create;
mod execute;
mod gate;
pub mod orchestrator;
pub mod phase;
pub mod plan;
pub mod settle;
pub mod state;
