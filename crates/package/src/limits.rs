//! The limits on what a package may hold. Every reader of packages names one; nothing is read without.

/// Most entries, and most folders that they lie in. It is also what a zip file without the 64-bit extension can count, and that extension is refused.
const ENTRIES: u64 = 65_535;

/// Most bytes of all entries together, unpacked: a package beyond it is refused before a byte is written.
const UNPACKED_BYTES: u64 = 16 << 30;

/// Most bytes of one entry, unpacked.
const ENTRY_BYTES: u64 = 4 << 30;

/// Most unpacked bytes for each packed byte of an entry. Programs stay under 10, logs and XML under 50.
const RATIO: u64 = 200;

/// Up to this unpacked size an entry may have any ratio: small files of one repeated byte are common and harmless.
pub(crate) const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Most bytes of the package file itself: what a zip file without the 64-bit extension can address.
const PACKAGE_BYTES: u64 = (4 << 30) - 1;

/// Most bytes of the nuspec, which is read into memory.
const NUSPEC_BYTES: u64 = 3 << 20;

/// How much a package may hold. A package beyond any of these is refused, and nothing of it is unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries, those of the package format included, and most folders that they lie in.
    pub entries: u64,
    /// Most bytes of all entries together, unpacked.
    pub unpacked_bytes: u64,
    /// Most bytes of one entry, unpacked.
    pub entry_bytes: u64,
    /// Most unpacked bytes for each packed byte, for entries of more than 1 MiB.
    pub ratio: u64,
    /// Most bytes of the package file.
    pub package_bytes: u64,
    /// Most bytes of the nuspec.
    pub nuspec_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: ENTRIES,
            unpacked_bytes: UNPACKED_BYTES,
            entry_bytes: ENTRY_BYTES,
            ratio: RATIO,
            package_bytes: PACKAGE_BYTES,
            nuspec_bytes: NUSPEC_BYTES,
        }
    }
}
