//! Suction Cup: keeps the newest good Tentacle of a machine running, for ever. It is finished, not developed.
//!
//! Pure core, thin shell. What decides takes values and the time, and returns values: [`select`] which version,
//! [`restart`] when, [`machine`] what next. The shell is [`run`] and `sys`: it does what the machine asks, one question
//! after the other, on one thread. [`status`] is a command of its own that only looks. `sys` alone knows the platform. The parts are public for `main.rs` and for tests;
//! nothing else depends on this crate. Nothing here opens a socket to the network or reads an archive.

pub mod args;
pub mod bundle;
pub mod end;
pub mod machine;
pub mod restart;
pub mod run;
pub mod select;
pub mod settings;
pub mod status;
mod sys;
