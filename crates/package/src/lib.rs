//! Everything about a package file (`.nupkg`): reading it, checking it, unpacking it side by side, writing one, and the
//! conventions by which its scripts run.
//!
//! The portal and Tentacle use this as a library, Suction Cup through the program `install-package`. It is synchronous:
//! call it from a thread that may block. Nothing here talks to the network, reads the environment, logs, or runs
//! anything that a package holds.

mod archive;
mod bundle;
mod conventions;
mod digest;
mod error;
mod home;
mod incoming;
mod install;
mod limits;
mod manifest;
mod marks;
mod name;
mod nuspec;
mod pack;
mod sweep;
mod sys;
mod unpack;

pub use archive::{PackageEntry, PackageFile};
pub use bundle::{BundleOutcome, install_tentacle_bundle};
pub use conventions::{Interpreter, Script, Stage, find_scripts};
pub use digest::{sha256_bytes, sha256_file};
pub use error::{InstallError, PackageError, Refusal};
pub use home::{ensure_private_folder, prepare_home};
pub use install::{
    Authority, Installed, Outcome, Staged, Verified, install_application, open_hashed, stage_installed, stage_tentacle,
    verify,
};
pub use limits::Limits;
pub use manifest::{FileRecord, Manifest, ManifestError};
pub use marks::{clear_mark, set_mark};
pub use nuspec::{Dependency, Nuspec, dependencies};
pub use pack::{PackRequest, pack, pack_tentacle};
pub use sweep::{retain_tentacles, sweep_incoming};
pub use sys::{current_runtime, end_with_parent};
