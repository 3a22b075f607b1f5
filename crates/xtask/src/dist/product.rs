//! The two things that are delivered.

use contract::Version;

use super::Arch;

/// What an archive or a `.deb` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// A machine: Suction Cup, the installer, and the Tentacle package for that machine.
    Machine,
    /// The portal's host: the portal, and the Tentacle packages for all machines.
    Portal,
}

impl Product {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Machine, Self::Portal];

    /// Its name: that of the package and of the service.
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "octopus-tentacle",
            Self::Portal => "octopus-server",
        }
    }

    /// The crate whose manifest says what its `.deb` is made of.
    pub(super) fn manifest_of(self) -> &'static str {
        match self {
            Self::Machine => "suction-cup",
            Self::Portal => "octopus-server",
        }
    }

    /// The folder with its unit, its maintainer scripts and its README.
    pub(super) fn packaging(self) -> &'static str {
        match self {
            Self::Machine => "packaging/machine",
            Self::Portal => "packaging/portal",
        }
    }

    /// The name of its archive, and of the one folder in it.
    pub fn archive(self, kind: Arch, version: &Version) -> String {
        format!("{}-{version}-{}", self.name(), kind.runtime())
    }

    /// The name of its `.deb`.
    pub fn deb(self, kind: Arch, version: &Version) -> String {
        format!("{}_{}_{}.deb", self.name(), debian_version(version), kind.debian())
    }
}

/// A version in Debian's order: there a pre-release comes before its release because of the `~`.
pub(super) fn debian_version(version: &Version) -> String {
    version.to_string().replacen('-', "~", 1)
}
