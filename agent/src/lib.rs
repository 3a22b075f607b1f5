//! Tentacle: the agent on one machine. It receives packages, installs them by conventions, and installs its own successor.
//!
//! The library is for its own program and tests; no other crate builds on it. In reading order: how it starts (`run`),
//! what it is asked (`service`), and what it does about it.

pub mod config;
pub mod run;

mod agent;
mod service;

mod arm;
mod confirm;
mod generations;
mod status;
mod upgrade;
mod upload;
mod work;

pub mod install;
mod scripts;
mod variables;

mod trust;
mod watch;

pub mod exit;
pub mod log;
pub mod register;
mod sys;
