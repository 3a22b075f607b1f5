//! Opens a package and checks every entry against the policy, before a byte of it is unpacked.
//!
//! A [`PackageFile`] is the proof that all names, kinds and declared sizes passed. What only shows while unpacking,
//! bytes that are damaged or not as many as declared, is found there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use zip::CompressionMethod;
use zip::read::{ArchiveOffset, Config, ZipArchive, ZipFileEntry};
use zip::result::ZipError;

use crate::error::{PackageError, Refusal};
use crate::limits::{Limits, RATIO_FREE_BYTES};
use crate::name::{EntryName, check_together};
use crate::nuspec::Nuspec;

/// The parts that belong to the package format and are never installed, in lower case, and the folders they lie in.
const FORMAT_FILES: [&str; 3] = ["[content_types].xml", "_rels/.rels", ".signature.p7s"];
const FORMAT_FOLDERS: [&str; 5] =
    ["_rels", "package", "package/services", "package/services/metadata", PROPERTIES_FOLDER];
const PROPERTIES_FOLDER: &str = "package/services/metadata/core-properties";

/// How far from its end the end record of a zip file can begin: its own size and the longest comment.
const END_RECORD_BYTES: u64 = 22;
const COMMENT_BYTES: u64 = 65_535;

/// The size of the locator of the 64-bit end record, which stands right before the end record.
const ZIP64_LOCATOR_BYTES: usize = 20;

/// Where a header in a zip file's central directory keeps the lengths of its name, extra field and comment.
const CENTRAL_HEADER_BYTES: usize = 46;
const CENTRAL_LENGTHS_AT: usize = 28;

/// The type bits of a Unix mode, and those of the two kinds that a package may hold.
const MODE_TYPE: u32 = 0o170_000;
const MODE_FOLDER: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;

pub(crate) type Archive = ZipArchive<BufReader<File>>;

/// A file that a package installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// Where it goes, relative to the installed folder, with `/` between the parts.
    pub path: String,
    /// Bytes, as declared; unpacking refuses any other number.
    pub size: u64,
    /// True where the archive's Unix mode has an executable bit. NuGet's own tools store no modes.
    pub executable: bool,
    /// As it stands in the archive, for errors.
    pub(crate) entry: String,
    pub(crate) index: usize,
}

/// An opened package whose every entry passed the policy.
#[derive(Debug)]
pub struct PackageFile {
    pub(crate) archive: Archive,
    pub(crate) folders: Vec<String>,
    files: Vec<PackageEntry>,
    nuspec: Nuspec,
    nuspec_xml: String,
}

impl PackageFile {
    /// Opens the package at `path` and checks it: a zip file within `limits`, with safe names and exactly one nuspec in
    /// its root. Reads the directory of the archive and the nuspec, not the content.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, PackageError> {
        let file = open_file(path, limits)?;
        Self::from_file(path, file, limits)
    }

    /// As [`PackageFile::open`], for a file that is already open; `path` is for errors only.
    pub(crate) fn from_file(path: &Path, mut file: File, limits: &Limits) -> Result<Self, PackageError> {
        let unread = |source| PackageError::Read { path: path.into(), source };
        if is_zip64(&mut file).map_err(unread)? {
            return Err(PackageError::Zip64 { path: path.into() });
        }
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut archive = ZipArchive::with_config(config, BufReader::new(file)).map_err(|error| match error {
            ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => unread(source),
            source => PackageError::NotZip { path: path.into(), source },
        })?;
        let too_many = |count| PackageError::TooManyEntries { path: path.into(), count, limit: limits.entries };
        if archive.len() as u64 > limits.entries {
            return Err(too_many(archive.len() as u64));
        }
        if archive.has_duplicate_names() {
            return Err(PackageError::refused(repeated_name(archive).map_err(unread)?, Refusal::Duplicate));
        }
        let names = read_names(&archive)?;
        let folders =
            check_together(&names).map_err(|(index, why)| PackageError::refused(shown_name(&archive, index), why))?;
        if folders > limits.entries {
            return Err(too_many(folders));
        }
        let content = check_entries(&archive, names, limits)?;
        check_overlap(&mut archive)?;
        let nuspec = content.nuspec.ok_or_else(|| PackageError::NoNuspec { path: path.into() })?;
        let nuspec_xml = read_nuspec(&mut archive, &nuspec, limits)?;
        Ok(Self {
            archive,
            folders: content.folders,
            files: content.files,
            nuspec: Nuspec::read(&nuspec.entry, &nuspec_xml)?,
            nuspec_xml,
        })
    }

    /// What the package says of itself.
    pub fn nuspec(&self) -> &Nuspec {
        &self.nuspec
    }

    /// The text of the nuspec, as a feed hands it out.
    pub fn nuspec_xml(&self) -> &str {
        &self.nuspec_xml
    }

    /// The files that are installed: everything but the nuspec and the parts of the package format.
    pub fn files(&self) -> &[PackageEntry] {
        &self.files
    }
}

/// Opens a package file that is a regular file of a size within the limits.
pub(crate) fn open_file(path: &Path, limits: &Limits) -> Result<File, PackageError> {
    let unread = |source| PackageError::Read { path: path.into(), source };
    // Before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(PackageError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(unread)?;
    let size = file.metadata().map_err(unread)?.len();
    if size == 0 {
        return Err(PackageError::Empty { path: path.into() });
    }
    if size > limits.package_bytes {
        return Err(PackageError::TooLarge { path: path.into(), size, limit: limits.package_bytes });
    }
    Ok(file)
}

/// True where any end record has a 64-bit one before it. Such a record may claim any number of entries, for which the
/// reader would set memory aside before it looks at one of them.
fn is_zip64(file: &mut File) -> io::Result<bool> {
    let size = file.seek(SeekFrom::End(0))?;
    let tail = END_RECORD_BYTES + COMMENT_BYTES + ZIP64_LOCATOR_BYTES as u64;
    file.seek(SeekFrom::Start(size.saturating_sub(tail)))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let is_end = |at: &usize| bytes[*at..].starts_with(b"PK\x05\x06");
    let has_locator = |at: usize| bytes[at - ZIP64_LOCATOR_BYTES..].starts_with(b"PK\x06\x07");
    Ok((ZIP64_LOCATOR_BYTES..bytes.len()).filter(is_end).any(has_locator))
}

/// The first name that the central directory holds twice. The zip reader keeps only the last of them.
fn repeated_name(archive: Archive) -> io::Result<String> {
    let mut at = archive.central_directory_start();
    let mut reader = archive.into_inner();
    let mut seen = HashSet::new();
    loop {
        reader.seek(SeekFrom::Start(at))?;
        let mut header = [0; CENTRAL_HEADER_BYTES];
        reader.read_exact(&mut header)?;
        if !header.starts_with(b"PK\x01\x02") {
            return Ok("(unknown)".to_owned());
        }
        let length = |i: usize| {
            let at = CENTRAL_LENGTHS_AT + 2 * i;
            usize::from(u16::from_le_bytes([header[at], header[at + 1]]))
        };
        let mut name = vec![0; length(0)];
        reader.read_exact(&mut name)?;
        if seen.contains(&name) {
            return Ok(String::from_utf8_lossy(&name).into_owned());
        }
        seen.insert(name);
        at += (CENTRAL_HEADER_BYTES + length(0) + length(1) + length(2)) as u64;
    }
}

#[derive(Default)]
struct Content {
    files: Vec<PackageEntry>,
    folders: Vec<String>,
    nuspec: Option<PackageEntry>,
}

/// The safe names of all entries, in their order.
fn read_names(archive: &Archive) -> Result<Vec<EntryName>, PackageError> {
    let refused = |index, why| PackageError::refused(shown_name(archive, index), why);
    let read = |(index, raw)| EntryName::read(raw).map_err(|why| refused(index, why));
    archive.file_names_raw().enumerate().map(read).collect()
}

/// An entry's name as it stands in the archive, for errors.
fn shown_name(archive: &Archive, index: usize) -> String {
    archive.by_index_data(index).map(|entry| String::from_utf8_lossy(entry.name_raw()).into_owned()).unwrap_or_default()
}

fn check_entries(archive: &Archive, names: Vec<EntryName>, limits: &Limits) -> Result<Content, PackageError> {
    let mut content = Content::default();
    let mut total: u64 = 0;
    for (index, name) in names.into_iter().enumerate() {
        let shown = shown_name(archive, index);
        let entry = archive.by_index_data(index).map_err(|error| damaged(&shown, error))?;
        let refuse = |why| PackageError::refused(&shown, why);
        check_kind(&entry, &name).map_err(refuse)?;
        check_size(&entry, limits).map_err(refuse)?;
        total = total.saturating_add(entry.size());
        if total > limits.unpacked_bytes {
            return Err(refuse(Refusal::TotalTooLarge { limit: limits.unpacked_bytes }));
        }
        let executable = unix_mode(&entry) & 0o111 != 0;
        let file = PackageEntry { path: name.path.clone(), size: entry.size(), executable, entry: shown, index };
        content.add(name, file)?;
    }
    Ok(content)
}

impl Content {
    fn add(&mut self, name: EntryName, file: PackageEntry) -> Result<(), PackageError> {
        let key = name.key();
        if name.is_folder {
            if !FORMAT_FOLDERS.contains(&key.as_str()) {
                self.folders.push(name.path);
            }
        } else if key.ends_with(".nuspec") && !key.contains('/') {
            if let Some(first) = &self.nuspec {
                return Err(PackageError::TwoNuspecs { first: first.entry.clone(), second: file.entry });
            }
            self.nuspec = Some(file);
        } else if !is_of_format(&key) {
            self.files.push(file);
        }
        Ok(())
    }
}

fn is_of_format(key: &str) -> bool {
    let is_property = || key.strip_prefix(PROPERTIES_FOLDER).is_some_and(|rest| rest.starts_with('/'));
    FORMAT_FILES.contains(&key) || is_property()
}

/// The Unix mode of an entry, 0 where there is none. It is read whatever system the archive claims to come from, so
/// that no other reader can see a link where we saw a file.
fn unix_mode(entry: &ZipFileEntry<'_>) -> u32 {
    entry.external_attributes() >> 16
}

fn check_kind(entry: &ZipFileEntry<'_>, name: &EntryName) -> Result<(), Refusal> {
    if entry.encrypted() {
        return Err(Refusal::Encrypted);
    }
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(Refusal::Compression);
    }
    let is_folder = match unix_mode(entry) & MODE_TYPE {
        0 => name.is_folder,
        MODE_FOLDER => true,
        MODE_FILE => false,
        _ => return Err(Refusal::SpecialFile),
    };
    if is_folder != name.is_folder || (is_folder && entry.size() > 0) {
        return Err(Refusal::Ambiguous);
    }
    Ok(())
}

fn check_size(entry: &ZipFileEntry<'_>, limits: &Limits) -> Result<(), Refusal> {
    let (size, packed) = (entry.size(), entry.compressed_size());
    if size > limits.entry_bytes {
        return Err(Refusal::TooLarge { size, limit: limits.entry_bytes });
    }
    if size > RATIO_FREE_BYTES && size > packed.saturating_mul(limits.ratio) {
        return Err(Refusal::Ratio { limit: limits.ratio });
    }
    if entry.compression() == CompressionMethod::Stored && size != packed {
        return Err(Refusal::WrongSize { declared: size, actual: packed });
    }
    Ok(())
}

/// Refuses entries that share bytes: a small file could unpack to any size by using the same bytes many times.
fn check_overlap(archive: &mut Archive) -> Result<(), PackageError> {
    let mut spans = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let span = archive.by_index_raw(index).map(|entry| {
            let end = entry.data_start().and_then(|start| start.checked_add(entry.compressed_size()));
            (entry.header_start(), end.unwrap_or(u64::MAX), index)
        });
        spans.push(span.map_err(|error| damaged(shown_name(archive, index), error))?);
    }
    spans.sort_unstable();
    let mut next_start = archive.central_directory_start();
    for (start, end, index) in spans.into_iter().rev() {
        if end > next_start {
            return Err(PackageError::refused(shown_name(archive, index), Refusal::Overlap));
        }
        next_start = start;
    }
    Ok(())
}

fn read_nuspec(archive: &mut Archive, nuspec: &PackageEntry, limits: &Limits) -> Result<String, PackageError> {
    if nuspec.size > limits.nuspec_bytes {
        let why = Refusal::TooLarge { size: nuspec.size, limit: limits.nuspec_bytes };
        return Err(PackageError::refused(&nuspec.entry, why));
    }
    let mut entry = archive.by_index(nuspec.index).map_err(|error| damaged(&nuspec.entry, error))?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| damaged(&nuspec.entry, error.into()))?;
    if bytes.len() as u64 != nuspec.size {
        let why = Refusal::WrongSize { declared: nuspec.size, actual: bytes.len() as u64 };
        return Err(PackageError::refused(&nuspec.entry, why));
    }
    String::from_utf8(bytes)
        .map_err(|_| PackageError::Nuspec { entry: nuspec.entry.clone(), why: "it is not UTF-8".to_owned() })
}

pub(crate) fn damaged(entry: impl Into<String>, error: ZipError) -> PackageError {
    // As it is: wrapped, it would say everything twice.
    let source = match error {
        ZipError::Io(source) => source,
        error => error.into(),
    };
    PackageError::Damaged { entry: entry.into(), source }
}
