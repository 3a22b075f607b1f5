//! Rollouts: one wish each to bring a set of machines to one Tentacle version.
//!
//! Invariant: `state`, `plan` and `gate` are pure. They import no database, no network and no runtime, and read no clock.

pub mod create;
mod execute;
mod gate;
pub mod orchestrator;
pub mod plan;
pub mod state;
