//! Build information: how a version of a package was built, as a build server says it.

use contract::{PackageId, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{BuildInformationId, SpaceId};

/// What is known of how one version of a package was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInformation {
    /// Its id.
    pub id: BuildInformationId,
    /// The space it belongs to.
    pub space: SpaceId,
    /// The package's id, as it was written.
    pub package_id: PackageId,
    /// The package's version.
    pub version: Version,
    /// What the build server says.
    pub build: Build,
    /// When it was written down.
    pub created_at: Timestamp,
}

/// What a build server says of a build. Whatever it does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Build {
    /// The build server.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub build_environment: String,
    /// The number of the build.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub build_number: String,
    /// Where the build can be looked at.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub build_url: String,
    /// The branch.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub branch: String,
    /// The kind of version control: `Git`.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub vcs_type: String,
    /// Where the sources are kept.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub vcs_root: String,
    /// The commit that was built.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub vcs_commit_number: String,
    /// The commits since the build before.
    pub commits: Vec<Commit>,
}

/// A commit in a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Commit {
    /// Its hash.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub id: String,
    /// What its author wrote.
    #[serde(deserialize_with = "text_or_null")]
    #[schemars(with = "Option<String>")]
    pub comment: String,
}

/// Clients write what they do not know as `null`.
fn text_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}
