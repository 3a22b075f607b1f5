//! What the end-to-end tests share: a world of real programs, a proxy that spoils its network, and a person at a browser
//! without scripts. For tests only; nothing here links the portal or the Tentacle.

mod disk;
mod page;
mod proxy;
mod world;

pub use disk::{tree, upgrades_commanded};
pub use page::{Form, Page, Visitor};
pub use proxy::Proxy;
pub use world::{ENVIRONMENT, LIMIT, World, signal};
