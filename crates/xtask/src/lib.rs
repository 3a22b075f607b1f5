//! The harness: starts the real programs on this computer, as an installer and a service manager would, and ends them.
//!
//! Used by `cargo xtask demo` and by the end-to-end tests, many at a time; `dist` packs them for operators. Everything that is started here ends, and every
//! folder made here goes, when its value is dropped. Nothing here links the portal or the Tentacle: they are programs.

pub mod demo;
pub mod dist;
pub mod pack;
pub mod screenshots;

mod api;
mod browser;
mod machine;
mod packages;
mod port;
mod portal;
mod process;
mod programs;
mod showroom;
mod wait;

pub use api::{Api, Rollout, RolloutMachine};
pub use browser::{Browser, Look};
pub use machine::{Machine, MachineOptions};
pub use packages::{Flavor, pack_tentacle, packed_tentacle, product_version};
pub use port::Port;
pub use portal::{Portal, PortalOptions};
pub use process::{Process, children_of, log_tail, processes_of, processes_with};
pub use programs::Programs;
pub use showroom::Showroom;
pub use wait::wait_for;
