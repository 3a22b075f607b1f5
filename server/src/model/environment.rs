//! Environments: named groups of machines with an order.

use contract::EnvironmentName;

use crate::ids::{EnvironmentId, SpaceId};

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// The space it belongs to.
    pub space: SpaceId,
    /// Its name: a folder name on the machines.
    pub name: EnvironmentName,
    /// Its name in addresses.
    pub slug: String,
    /// What people wrote about it.
    pub description: String,
    /// Its place in the order, lowest first.
    pub sort_order: i64,
    /// A disabled environment is shown, but nothing is rolled out or deployed to it.
    pub is_disabled: bool,
}

/// What a person says of an environment, new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnvironment {
    /// Its name.
    pub name: EnvironmentName,
    /// What people wrote about it.
    pub description: String,
    /// Its place in the order; `None` puts a new one last and leaves an old one where it is.
    pub sort_order: Option<i64>,
    /// See [`Environment::is_disabled`].
    pub is_disabled: bool,
}
