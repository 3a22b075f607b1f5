//! Rollouts: one wish each to bring a set of machines to one Tentacle version.
//!
//! Invariant: `state` and `plan` are pure. They import no database, no network and no runtime, and read no clock.

pub mod create;
mod execute;
pub mod orchestrator;
pub mod plan;
pub mod state;
