//! The pages as a browser without scripts meets them: the router in process, HTML read with selectors.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod audit;
mod browser;
mod dashboard;
mod hours;
mod lists;
mod lost;
mod machine_page;
mod new_rollout;
mod pages;
mod people;
mod questions;
mod registration;
mod seed;
mod selected;
mod settings;
mod spaces;
mod states;
mod stream;
