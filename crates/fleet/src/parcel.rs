//! The package that is sent in a measurement: files that no compression makes smaller.

use std::fs;
use std::path::{Path, PathBuf};

use contract::Sha256;
use package::{Limits, PackRequest, pack, verify};
use rand::Rng as _;

/// A package file and what it must be when it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) path: PathBuf,
    pub(crate) sha256: Sha256,
    /// Bytes.
    pub(crate) size: u64,
}

/// The id of the package.
pub(crate) const ID: &str = "Acme.Parcel";

/// The version of the package.
pub(crate) const VERSION: &str = "1.0.0";

impl Parcel {
    /// Packs `files` files of random bytes, `mib` MiB together, into `folder`.
    pub(crate) fn pack(folder: &Path, mib: u32, files: u32) -> anyhow::Result<Self> {
        let content = folder.join("content");
        fs::create_dir(&content)?;
        let mut bytes = vec![0; (mib as usize * 1024 * 1024).div_ceil(files as usize)];
        let mut list = Vec::new();
        for number in 0..files {
            rand::rng().fill_bytes(&mut bytes);
            let path = content.join(format!("{number}.bin"));
            fs::write(&path, &bytes)?;
            list.push((path, format!("content/{number}.bin")));
        }
        let (id, version) = (ID.parse()?, VERSION.parse()?);
        let request =
            PackRequest { id: &id, version: &version, description: "Random bytes.", authors: "Octopus", files: &list };
        let path = pack(&request, folder)?;
        fs::remove_dir_all(&content)?;
        let verified = verify(&path, None, &Limits::default())?;
        Ok(Self { path, sha256: verified.sha256(), size: verified.size() })
    }
}
