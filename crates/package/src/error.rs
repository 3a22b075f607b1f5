//! What can be wrong with a package, and what can go wrong while it is installed, in sentences for the user.
//!
//! A refusal names the entry; the cause below an error is its source and is not repeated in the sentence.

use std::io;
use std::path::PathBuf;

use contract::{NameError, PackageId, Sha256, Version, VersionError};
use zip::result::ZipError;

use crate::manifest::ManifestError;

/// Why an entry of a package is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes of its name, as they are or once percent-decoded, are not UTF-8.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// Nothing, or nothing between two slashes.
    #[error("its name has an empty part")]
    EmptyPart,
    /// Begins with a slash.
    #[error("its name is absolute")]
    Absolute,
    /// `.` or `..`.
    #[error("its name has a . or .. part")]
    Traversal,
    /// A backslash.
    #[error("its name has a backslash")]
    Backslash,
    /// A slash written as `%2F`.
    #[error("its name hides a slash as %2F")]
    HiddenSlash,
    /// A colon: a drive letter or a stream.
    #[error("its name has a colon")]
    Colon,
    /// A control character.
    #[error("its name has a control character")]
    Control,
    /// `con`, `aux.txt`, `nul`, `com1` and the like.
    #[error("its name is that of a device on Windows")]
    Device,
    /// A part that ends with a dot or a space, which Windows drops.
    #[error("a part of its name ends with a dot or a space")]
    TrailingDotOrSpace,
    /// Too long for a file system.
    #[error("its name is too long (a part may have 255 bytes, the whole 1024)")]
    TooLong,
    /// The name that the installer gives its own record.
    #[error("its name is reserved for the record of the installation")]
    Reserved,
    /// The same name twice, or two that differ only in case.
    #[error("its name differs from another entry's only in case, or not at all")]
    Duplicate,
    /// A file where another entry needs a folder.
    #[error("one entry has a file where another needs a folder")]
    FileAndFolder,
    /// A link, a device, a pipe or a socket.
    #[error("it is a link or another special file")]
    SpecialFile,
    /// A folder by name and a file by mode, or the other way round, or a folder that holds bytes.
    #[error("it is both a file and a folder")]
    Ambiguous,
    /// Needs a password.
    #[error("it is encrypted")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("it is compressed by a method other than deflate")]
    Compression,
    /// Beyond [`crate::Limits::entry_bytes`].
    #[error("unpacked it would have {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes, as declared.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// Beyond [`crate::Limits::ratio`].
    #[error("it would grow more than {limit}-fold when unpacked")]
    Ratio {
        /// Unpacked bytes for each packed one.
        limit: u64,
    },
    /// The archive with this entry goes beyond [`crate::Limits::unpacked_bytes`].
    #[error("with it the package would unpack to more than {limit} bytes")]
    TotalTooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Its bytes belong to another entry too, or lie outside the archive.
    #[error("its bytes overlap those of another entry or lie outside the archive")]
    Overlap,
    /// It ends before the size that it declares.
    #[error("it declares {declared} bytes but holds {actual}")]
    WrongSize {
        /// Bytes.
        declared: u64,
        /// Bytes.
        actual: u64,
    },
}

/// Why a file is not a package that can be installed, or why one could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The package file could not be opened or read.
    #[error("could not read the package {path}")]
    Read {
        /// The package.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("{path} is not a file")]
    NotAFile {
        /// The package.
        path: PathBuf,
    },
    /// No bytes.
    #[error("the package {path} is empty")]
    Empty {
        /// The package.
        path: PathBuf,
    },
    /// Beyond [`Limits::package_bytes`](crate::Limits::package_bytes).
    #[error("the package {path} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// The package.
        path: PathBuf,
        /// Bytes.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// Beyond [`Limits::entries`](crate::Limits::entries), which also limits the folders that entries lie in.
    #[error("the package {path} has {count} entries or folders, the limit is {limit}")]
    TooManyEntries {
        /// The package.
        path: PathBuf,
        /// Entries.
        count: u64,
        /// Entries.
        limit: u64,
    },
    /// Not a zip file, or a damaged or truncated one.
    #[error("{path} is not a complete zip file, which a package must be")]
    NotZip {
        /// The package.
        path: PathBuf,
        /// The cause.
        source: ZipError,
    },
    /// A zip file with the 64-bit extension: signed packages may not have it, and none within the limits needs it.
    #[error("the package {path} is a zip64 file: write it without that extension")]
    Zip64 {
        /// The package.
        path: PathBuf,
    },
    /// An entry breaks the policy.
    #[error("the package is refused because of its entry {entry:?}: {why}")]
    Refused {
        /// As it stands in the archive.
        entry: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// An entry's bytes cannot be unpacked: they are damaged or are more than declared.
    #[error("the package's entry {entry:?} is damaged")]
    Damaged {
        /// As it stands in the archive.
        entry: String,
        /// The cause.
        source: io::Error,
    },
    /// A zip file that is not a package.
    #[error("{path} is not a NuGet package: there is no .nuspec file in its root")]
    NoNuspec {
        /// The package.
        path: PathBuf,
    },
    /// Nobody knows which one is meant.
    #[error("the package has two .nuspec files in its root: {first:?} and {second:?}")]
    TwoNuspecs {
        /// As it stands in the archive.
        first: String,
        /// As it stands in the archive.
        second: String,
    },
    /// The nuspec is not the XML that it must be.
    #[error("{entry:?} cannot be read: {why}")]
    Nuspec {
        /// As it stands in the archive.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The package's id cannot be one.
    #[error("the package's id is refused")]
    Id(#[source] NameError),
    /// The package's version cannot be one.
    #[error("the package's version is refused")]
    Version(#[source] VersionError),
    /// The bytes are not those that were asked for.
    #[error("the package {path} has the SHA-256 {actual}, expected was {expected}: fetch it again")]
    Digest {
        /// The package.
        path: PathBuf,
        /// What was asked for.
        expected: Sha256,
        /// What is there.
        actual: Sha256,
    },
    /// A file that should go into a package could not be read.
    #[error("could not read {path}, which should go into the package")]
    Source {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A new package could not be written.
    #[error("could not write the package {path}")]
    Write {
        /// The package.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl PackageError {
    pub(crate) fn refused(entry: impl Into<String>, why: Refusal) -> Self {
        Self::Refused { entry: entry.into(), why }
    }
}

/// Why a package was not installed. Whatever it is, nothing that was there before has changed, and nothing is left.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The package itself is at fault.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Some other package was offered as Tentacle.
    #[error("{id} is not a Tentacle package: the id of one begins with Octopus.Tentacle. and ends with the runtime")]
    NotTentacle {
        /// The package.
        id: PackageId,
    },
    /// Made for another kind of machine.
    #[error("{id} is made for {offered}, but this machine is {machine}: take Octopus.Tentacle.{machine}")]
    OtherRuntime {
        /// The package.
        id: PackageId,
        /// In .NET's words.
        offered: String,
        /// In .NET's words.
        machine: &'static str,
    },
    /// Nothing to launch.
    #[error("{id} {version} has no program {program:?} in its root, so it could never be launched")]
    NoProgram {
        /// The package.
        id: PackageId,
        /// Its version.
        version: Version,
        /// The name that was looked for.
        program: String,
    },
    /// A version's bytes never change.
    #[error(
        "version {version} is installed from a package with other bytes (SHA-256 {installed}, offered {offered}): \
         a version's bytes never change, so publish a new version"
    )]
    OtherBytes {
        /// The version.
        version: Version,
        /// The digest of the package that it was installed from.
        installed: Sha256,
        /// The digest of the package that was offered.
        offered: Sha256,
    },
    /// The bundled package comes without anybody's word, so it clears no verdict.
    #[error(
        "version {version} bears the mark .{mark}, which the bundled package does not clear: \
         upgrade from the portal, or run install-package without --bundled"
    )]
    Verdict {
        /// The version.
        version: Version,
        /// `rejected`, `withdrawn` or `launches`.
        mark: &'static str,
    },
    /// Something removed or changed the installed version between staging and arming.
    #[error("version {version} was there and intact, but is no longer: install it again")]
    Gone {
        /// The version.
        version: Version,
    },
    /// The version is not on this machine, and no package was given.
    #[error("version {version} is not on this machine any more: send its package")]
    NotInstalled {
        /// The version.
        version: Version,
    },
    /// The version is on this machine, and not as it was installed.
    #[error("version {version} on this machine is damaged: send its package, which mends it")]
    Damaged {
        /// The version.
        version: Version,
        /// What is wrong.
        source: ManifestError,
    },
    /// A folder of the version's name was made from something else.
    #[error("the folder of version {version} says that it holds {recorded}: send the package of version {version}")]
    OtherRecord {
        /// The version that the folder is named by.
        version: Version,
        /// Id and version in its record.
        recorded: String,
    },
    /// `<version>`, `<version>_1` … are all taken.
    #[error("{folder} and {copies} copies of it exist: delete some")]
    TooManyCopies {
        /// The first one.
        folder: PathBuf,
        /// How many numbers were tried.
        copies: u32,
    },
    /// A step on the disk failed.
    #[error("could not {step} {path}")]
    Disk {
        /// What was tried, to be read before the path.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl InstallError {
    /// For `map_err`: names the step and the path that it failed with.
    pub(crate) fn disk(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { step, path, source }
    }
}
