//! What the processes of this project must agree on without talking to each other: versions, the layout of a home
//! folder on disk, verdicts, exit codes and the names of environment variables.
//!
//! Everything here that Suction Cup reads or writes is frozen for ever, because Suction Cup is never upgraded.
//! Nothing here opens a socket, starts a process or depends on an archive format.

mod digest;
pub mod env;
mod exit;
mod home;
mod names;
mod verdict;
mod version;

pub use digest::{DigestError, Sha256, Thumbprint};
pub use exit::TentacleExit;
pub use home::Home;
pub use names::{EnvironmentName, NameError, PackageId};
pub use verdict::{Rejection, Verdicts};
pub use version::{Version, VersionError};
