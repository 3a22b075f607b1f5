//! The portal: pages, REST API, package store and the rollout orchestrator.
//!
//! `main.rs` is the program; everything else is here, so that tests can drive the router in process.

pub mod admin;
pub mod api;
pub mod app;
pub mod assets;
pub mod attention;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod build_information;
pub mod bulk;
pub mod bundle;
pub mod clock;
pub mod config;
pub mod counts;
pub mod db;
pub mod discovery;
pub mod error;
pub mod feed;
pub mod health;
pub mod identities;
pub mod ids;
pub mod inventory;
pub mod listen;
pub mod live;
pub mod maintenance;
pub mod model;
pub mod monitor;
pub mod pages;
pub mod people;
pub mod policy;
pub mod registration;
pub mod restored;
pub mod retention;
pub mod rollout;
pub mod roster;
pub mod rotation;
pub mod routes;
pub mod run;
pub mod sequel;
pub mod spaces;
pub mod store;
mod sys;
pub mod tasks;
pub mod tentacle;
#[doc(hidden)]
pub mod testing;
