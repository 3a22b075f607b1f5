//! The portal: pages, REST API, package store and the rollout orchestrator.
//!
//! `main.rs` is the program; everything else is here, so that tests can drive the router in process.

pub mod assets;
pub mod clock;
pub mod db;
pub mod ids;
pub mod live;
pub mod model;
pub mod pages;
pub mod rollout;
pub mod tentacle;
