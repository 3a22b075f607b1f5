//! The file of a backup: a zip archive of its parts, with a manifest that names each of them by size and digest. The
//! manifest comes last, so a file that was cut off has none.
//!
//! Every part is compared with the manifest as it is read; that the manifest itself was not written anew by somebody only
//! the place where backups are kept can guard.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use contract::Sha256;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{BackupError, DATABASE, IDENTITY, OTHER_IDENTITIES, PACKAGES, disk};
use crate::sys;

/// The name of the manifest in the archive.
const MANIFEST: &str = "manifest.json";

/// The form of the manifest. A backup of a higher one is refused.
const FORMAT: u32 = 1;

/// Largest manifest, in bytes: room for a hundred thousand packages. A larger one is refused.
const MANIFEST_MAX: u64 = 32 << 20;

/// Bytes that are read, hashed and written at once.
const CHUNK: usize = 256 * 1024;

/// The end of the names of package files.
const PACKAGE_SUFFIX: &str = ".nupkg";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Manifest {
    /// The form of this.
    pub format: u32,
    /// The version of the portal that made it.
    pub portal_version: String,
    /// The number of its database's schema.
    pub schema: i64,
    /// When it was made, as RFC 3339.
    pub made_at: String,
    /// The id of the portal.
    pub installation_id: String,
    /// The thumbprint of the portal's identity.
    pub thumbprint: String,
    /// Which packages were wished for.
    pub packages: String,
    /// Package files that the database names and that were left out by choice.
    pub left_out: LeftOut,
    /// Package files that were wished for and that the portal did not have, by their digests.
    pub missing: Vec<String>,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LeftOut {
    /// How many files.
    pub files: usize,
    /// How many bytes.
    pub bytes: u64,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Part {
    /// Its name, with `/` between the parts.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
}

impl Manifest {
    /// One of this form, without parts.
    pub fn new(portal_version: &str) -> Self {
        Self {
            format: FORMAT,
            portal_version: portal_version.to_owned(),
            schema: 0,
            made_at: String::new(),
            installation_id: String::new(),
            thumbprint: String::new(),
            packages: String::new(),
            left_out: LeftOut::default(),
            missing: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// The package files in it.
    pub fn package_files(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| package_digest(&part.name).is_some())
    }
}

/// The name of a package file in a backup.
pub fn package_name(sha256: &Sha256) -> String {
    format!("{PACKAGES}/{sha256}{PACKAGE_SUFFIX}")
}

/// The digest that a package file is named by, where `name` is the name of one.
pub fn package_digest(name: &str) -> Option<Sha256> {
    name.strip_prefix(PACKAGES)?.strip_prefix('/')?.strip_suffix(PACKAGE_SUFFIX)?.parse().ok()
}

/// True for the names that parts have. No other is ever written anywhere.
fn is_known(name: &str) -> bool {
    [DATABASE, IDENTITY].contains(&name)
        || OTHER_IDENTITIES.contains(&name)
        || package_digest(name).is_some_and(|digest| package_name(&digest) == name)
}

/// Writes a backup.
pub struct Writer {
    zip: ZipWriter<BufWriter<File>>,
    parts: Vec<Part>,
}

impl Writer {
    /// Writes to an empty file.
    pub fn new(file: File) -> Self {
        Self { zip: ZipWriter::new(BufWriter::with_capacity(CHUNK, file)), parts: Vec::new() }
    }

    /// Adds a file under a name. Packages are compressed already.
    pub fn add(&mut self, name: String, from: &Path) -> io::Result<()> {
        let mut file = File::open(from)?;
        let is_packed = package_digest(&name).is_some();
        let method = if is_packed { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let is_large = file.metadata()?.len() >= u64::from(u32::MAX);
        self.zip.start_file(name.as_str(), options(method).large_file(is_large))?;
        let (sha256, size) = copy(&mut file, &mut self.zip, u64::MAX)?;
        self.parts.push(Part { name, size, sha256: sha256.to_string() });
        Ok(())
    }

    /// Writes the manifest, and everything to the disk. Returns the manifest as it was written.
    pub fn finish(mut self, manifest: Manifest) -> io::Result<Manifest> {
        let manifest = Manifest { parts: self.parts, ..manifest };
        self.zip.start_file(MANIFEST, options(CompressionMethod::Deflated))?;
        self.zip.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
        let file = self.zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(manifest)
    }
}

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(method).unix_permissions(0o600)
}

/// Copies up to `most` bytes and says what they were.
fn copy(from: &mut impl Read, to: &mut impl Write, most: u64) -> io::Result<(Sha256, u64)> {
    let (mut hasher, mut size, mut chunk) = (sha2::Sha256::new(), 0_u64, vec![0; CHUNK]);
    loop {
        let read = match from.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        size = size.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if read == 0 || size > most {
            return Ok((Sha256(hasher.finalize().into()), size));
        }
        hasher.update(&chunk[..read]);
        to.write_all(&chunk[..read])?;
    }
}

/// A backup that is being read.
pub struct Reader {
    zip: ZipArchive<BufReader<File>>,
    path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Reader {
    /// Opens a backup: its manifest can be read, and names exactly the files that are in it.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let unfit = |why: String| BackupError::Unfit { path: path.to_owned(), why };
        let mut file = File::open(path).map_err(disk("open", path))?;
        if file.seek(SeekFrom::End(0)).map_err(disk("read", path))? == 0 {
            return Err(unfit("it is empty".to_owned()));
        }
        let zip = ZipArchive::new(BufReader::with_capacity(CHUNK, file));
        let mut zip = zip.map_err(|error| {
            unfit(format!("it is no backup, or its end is missing, as of one that was cut off ({error})"))
        })?;
        let manifest = read_manifest(&mut zip).map_err(&unfit)?;
        let mut told = BTreeSet::from([MANIFEST.to_owned()]);
        for part in &manifest.parts {
            if !is_known(&part.name) || !told.insert(part.name.clone()) {
                return Err(unfit(format!("its manifest names a part that no backup has: {:?}", part.name)));
            }
        }
        for name in [DATABASE, IDENTITY] {
            if !told.contains(name) {
                return Err(unfit(format!("it holds no {name}")));
            }
        }
        let held: Result<BTreeSet<String>, _> = zip.file_names().map(|name| name.map(|n| n.into_owned())).collect();
        let held = held.map_err(|error| unfit(format!("a name in it cannot be read ({error})")))?;
        if let Some(name) = told.symmetric_difference(&held).next() {
            return Err(unfit(format!(
                "its manifest and its content differ in {name:?}: it was changed or is damaged"
            )));
        }
        Ok(Self { zip, path: path.to_owned(), manifest })
    }

    /// Unpacks a part to a file that is not there yet. It must be as the manifest says.
    pub fn unpack(&mut self, part: &Part, to: &Path) -> Result<(), BackupError> {
        let unfit = |why: String| BackupError::Unfit { path: self.path.clone(), why };
        let broken = |error: &dyn std::fmt::Display| unfit(format!("{} in it is damaged ({error})", part.name));
        let mut file = self.zip.by_name(&part.name).map_err(|error| broken(&error))?;
        let mut out = sys::private_file(to).map_err(disk("make the file", to))?;
        // What the archive cannot give and what the disk does not take are told apart.
        let mut failed = None;
        let mut sink = Sink { file: &mut out, failed: &mut failed };
        let copied = copy(&mut file, &mut sink, part.size);
        if let Some(error) = failed {
            return Err(disk("write the file", to)(error));
        }
        let (sha256, size) = copied.map_err(|error| broken(&error))?;
        if size != part.size || sha256.to_string() != part.sha256 {
            return Err(unfit(format!(
                "{} in it is not what its manifest says: it was changed or is damaged",
                part.name
            )));
        }
        Ok(())
    }
}

/// Writes to a file, and remembers what that refused.
struct Sink<'a> {
    file: &'a mut File,
    failed: &'a mut Option<io::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| {
            let kind = error.kind();
            *self.failed = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn read_manifest(zip: &mut ZipArchive<BufReader<File>>) -> Result<Manifest, String> {
    let file =
        zip.by_name(MANIFEST).map_err(|error| format!("it is no backup of a portal: it has no manifest ({error})"))?;
    let mut text = Vec::new();
    let read = file.take(MANIFEST_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| format!("its manifest is damaged ({error})"))?;
    if text.len() as u64 > MANIFEST_MAX {
        return Err(format!("its manifest is larger than {MANIFEST_MAX} bytes"));
    }
    // Of a form that is not known nothing else may be understood.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(&text).map_err(|error| format!("its manifest is damaged ({error})"))?;
    if form.format > FORMAT {
        return Err(format!("it is of form {}, and this program knows {FORMAT}: use a newer one", form.format));
    }
    serde_json::from_slice(&text).map_err(|error| format!("its manifest is damaged ({error})"))
}
