//! Unpacks a checked package into a folder that nobody sees yet, in one pass: inflate, check, hash, write, sync.
//!
//! The disk begins to write each file as soon as it is complete, and it is waited for a batch later: so many small files cost
//! one wait and not as many as they are.
//!
//! Called by the installer. When it returns, every byte and name in the folder is durable. Nothing that was unpacked
//! is ever run here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use contract::Sha256;
use sha2::Digest as _;

use crate::archive::{Archive, PackageEntry, PackageFile, damaged};
use crate::digest::{CHUNK_BYTES, read_full};
use crate::error::{InstallError, PackageError, Refusal};
use crate::manifest::FileRecord;
use crate::sys;

/// How files begin that the system can run: programs, and scripts that name their interpreter.
const PROGRAM_STARTS: [&[u8]; 2] = [b"\x7fELF", b"#!"];

/// Files that are complete and not yet durable at a time. At the limit all of them are waited for and closed, so that a
/// package of many files does not need as many open ones.
const UNSYNCED_MAX: usize = 64;

/// Unpacks all files of `package` into the empty `folder` and makes them durable, with their names in the folders
/// below `folder`; the names in `folder` itself are synced by the caller, once everything is in it.
pub(crate) fn unpack(package: &mut PackageFile, folder: &Path) -> Result<Vec<FileRecord>, InstallError> {
    let folders = create_folders(package, folder)?;
    let files = package.files().to_vec();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut records = Vec::with_capacity(files.len());
    let mut unsynced = Vec::with_capacity(UNSYNCED_MAX);
    for file in &files {
        if unsynced.len() == UNSYNCED_MAX {
            sync(&mut unsynced)?;
        }
        let (record, output) = unpack_file(&mut package.archive, file, folder, &mut chunk)?;
        records.push(record);
        unsynced.push((folder.join(&file.path), output));
    }
    sync(&mut unsynced)?;
    for path in folders.iter().rev() {
        let path = folder.join(path);
        sys::sync_folder(&path).map_err(InstallError::disk("sync the folder", path))?;
    }
    Ok(records)
}

/// Waits until the files are durable, and closes them.
fn sync(files: &mut Vec<(PathBuf, File)>) -> Result<(), InstallError> {
    files.drain(..).try_for_each(|(path, file)| file.sync_all().map_err(InstallError::disk("write the file", path)))
}

/// Makes every folder that the package names or needs. Returns them, each before what lies in it.
fn create_folders(package: &PackageFile, folder: &Path) -> Result<BTreeSet<String>, InstallError> {
    let mut folders = BTreeSet::new();
    let inner = package.files().iter().filter_map(|file| file.path.rsplit_once('/')).map(|(folder, _)| folder);
    for path in package.folders.iter().map(String::as_str).chain(inner) {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.extend(parents.chain([path]).map(str::to_owned));
    }
    for path in &folders {
        let path = folder.join(path);
        sys::create_folder(&path, sys::FOLDER_MODE).map_err(InstallError::disk("make the folder", path))?;
    }
    Ok(folders)
}

fn unpack_file(
    archive: &mut Archive,
    file: &PackageEntry,
    folder: &Path,
    chunk: &mut [u8],
) -> Result<(FileRecord, File), InstallError> {
    let path = folder.join(&file.path);
    let write = |source| InstallError::Disk { step: "write the file", path: path.clone(), source };
    let mut entry = archive.by_index(file.index).map_err(|error| damaged(&file.entry, error))?;
    let mut output = sys::create_file(&path).map_err(write)?;
    let mut hasher = sha2::Sha256::new();
    let mut executable = file.executable;
    let mut size = 0;
    loop {
        let count = read_full(&mut entry, chunk).map_err(|error| damaged(&file.entry, error.into()))?;
        if count == 0 {
            break;
        }
        let bytes = &chunk[..count];
        executable |= size == 0 && PROGRAM_STARTS.iter().any(|start| bytes.starts_with(start));
        hasher.update(bytes);
        output.write_all(bytes).map_err(write)?;
        size += count as u64;
    }
    if size != file.size {
        let why = Refusal::WrongSize { declared: file.size, actual: size };
        return Err(PackageError::refused(&file.entry, why).into());
    }
    let mode = if executable { sys::PROGRAM_MODE } else { sys::FILE_MODE };
    sys::set_mode(&output, mode).map_err(write)?;
    sys::begin_sync(&output);
    Ok((FileRecord { path: file.path.clone(), size, sha256: Sha256(hasher.finalize().into()), mode }, output))
}
