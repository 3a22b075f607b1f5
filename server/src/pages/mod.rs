//! The pages people see. Called by `routes`; never calls a machine.

pub mod environments;
mod form;
pub mod live;
mod shell;
pub mod rollouts;
pub mod tasks;
pub mod view;
