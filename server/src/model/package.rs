//! Packages: what was uploaded to the portal's built-in feed.

use contract::{PackageId, Sha256, Version};

use crate::clock::Timestamp;
use crate::ids::SpaceId;

/// A package in the portal's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The row.
    pub id: i64,
    /// What was uploaded.
    pub package: NewPackage,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
}

/// What is known of a package when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPackage {
    /// The space it belongs to.
    pub space: SpaceId,
    /// The package's id, as it was written.
    pub package_id: PackageId,
    /// The package's version.
    pub version: Version,
    /// The digest of its bytes, which names the file in the store.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// For people; may be empty.
    pub title: String,
    /// For people; may be empty.
    pub summary: String,
    /// For people; may be empty.
    pub description: String,
    /// For people; may be empty.
    pub release_notes: String,
}

impl Package {
    /// The id on the wire: `packages-Acme.Web.1.0.0`.
    pub fn wire_id(&self) -> String {
        format!("packages-{}.{}", self.package.package_id, self.package.version)
    }
}
