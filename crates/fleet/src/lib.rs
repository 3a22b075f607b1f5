//! Measurements with real Tentacles on this computer. Used by the program `fleet` and by nobody else; it is the one
//! place that links both the portal and the Tentacle, so that a measurement needs a single build.

pub mod idle;
pub mod pages;
pub mod plan;
pub mod push;
pub mod simulate;
pub mod soak;

mod baseline;
mod parcel;
mod service;
mod usage;
