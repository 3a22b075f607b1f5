//! The home folder's files: reading what is installed and how it is marked, and writing marks and last words.
//!
//! Whatever lies at a path is taken for hostile: nothing here follows a link at the end of a path, blocks on a pipe,
//! or reads more than it has room for.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use contract::{Home, Rejection, Version};
use rustix::fs::{Dir, DirEntry, FileType, Mode, OFlags};

use crate::machine::Survey;
use crate::select::Installed;

/// Longest tail of a child's stderr that is kept. With the sentence before it, last words stay below 16 KiB.
const TAIL_MAX: u64 = 15 * 1024;

/// Longest sentence at the head of last words, in bytes; the rest is cut.
const SENTENCE_MAX: usize = 512;

/// Where a verdict is written before it gets its name.
const REJECTED_TEMPORARY: &str = ".rejected.tmp";

/// Where last words are written before they get their name.
const LAST_WORDS_TEMPORARY: &str = ".last-words.tmp";

/// Where the note for `suction-cup status` is written before it gets its name.
const STATUS_TEMPORARY: &str = ".status.tmp";

/// Most bytes of a small file that are read, for people.
const SMALL_MAX: u64 = 16 * 1024;

/// Names that are taken from the bundle's folder. Those beyond are left out: an installer puts one file there.
const BUNDLE_NAMES_MAX: usize = 1_000;

/// Reads the installed versions and their marks.
pub fn survey(home: &Home) -> Survey {
    let mut survey = Survey::default();
    let say = |path: PathBuf, error: io::Error| format!("{}: {error}", path.display());
    if let Err(error) = read_versions(home, &mut survey.versions) {
        survey.versions_fault = Some(say(home.tentacles(), error));
    }
    survey.versions.sort_unstable_by(|a, b| a.version.cmp(&b.version));
    if let Err(error) = read_marks(home, &mut survey.versions) {
        survey.marks_fault = Some(say(home.supervisor(), error));
    }
    survey
}

/// Like [`Home::installed_tentacles`], but what was read before an error is kept, and each folder's inode comes with it.
fn read_versions(home: &Home, versions: &mut Vec<Installed>) -> io::Result<()> {
    let folder = home.tentacles();
    let mut fault = Ok(());
    let read = read_folder(&folder, |name, entry| {
        let Some(version) = Version::from_folder_name(name) else { return };
        match is_folder(entry.file_type(), &folder.join(name)) {
            Ok(true) => versions.push(Installed { folder: entry.ino(), ..Installed::new(version) }),
            Ok(false) => {}
            Err(error) => fault = Err(error),
        }
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        read => read.and(fault),
    }
}

/// Not following links: what is not a folder of its own is no version. Some file systems do not tell the kind with the
/// name, and then what is gone by the second question is none either.
fn is_folder(kind: FileType, path: &Path) -> io::Result<bool> {
    match kind {
        FileType::Unknown => match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            read => read.map(|metadata| metadata.is_dir()),
        },
        kind => Ok(kind == FileType::Directory),
    }
}

/// One reading of the folder tells which marks exist, however many versions there are. `versions` are in order.
fn read_marks(home: &Home, versions: &mut [Installed]) -> io::Result<()> {
    let mut fault = Ok(());
    let read = read_folder(&home.supervisor(), |name, _| {
        let Some((stem, mark)) = name.rsplit_once('.') else { return };
        let Some(version) = Version::from_folder_name(stem) else { return };
        let Ok(place) = versions.binary_search_by(|one| one.version.cmp(&version)) else { return };
        let one = &mut versions[place];
        match mark {
            "proven" => one.proven = true,
            "rejected" => one.rejected = true,
            "withdrawn" => one.withdrawn = true,
            "launches" => match count_in(&home.launches(&version)) {
                Ok(count) => one.launches = count,
                Err(error) => fault = Err(error),
            },
            _ => {}
        }
    });
    match read {
        // No folder, no marks.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        read => read.and(fault),
    }
}

/// Shows `each` the entries of a folder whose names are text. The standard library's reader is not used, because it
/// panics where a folder cannot be closed.
fn read_folder(path: &Path, mut each: impl FnMut(&str, &DirEntry)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(rustix::fs::open(path, flags, Mode::empty())?)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str() {
            each(name, &entry);
        }
    }
    Ok(())
}

fn count_in(path: &Path) -> io::Result<u64> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Appends one byte to a version's launches, so that it is there after a power cut.
pub fn count_launch(home: &Home, version: &Version) -> io::Result<()> {
    let mut file = open_in_supervisor(home, OpenOptions::new().append(true), &home.launches(version))?;
    let is_new = file.metadata()?.len() == 0;
    file.write_all(b".")?;
    file.sync_all()?;
    // Freed before the folder is opened: there may be room for one open file only.
    drop(file);
    if is_new { sync_supervisor(home) } else { Ok(()) }
}

/// Writes down that a version is given up on: after a power cut the file is there whole or not at all.
pub fn reject(home: &Home, version: &Version, kind: Rejection, sentence: &str) -> io::Result<()> {
    let text = format!("{} {sentence}\n", kind.word());
    write_beside(home, REJECTED_TEMPORARY, text.as_bytes())?.sync_all()?;
    fs::rename(home.supervisor().join(REJECTED_TEMPORARY), home.rejected(version))?;
    sync_supervisor(home)
}

/// A sentence and the tail of the child's stderr, as they stand before the next launch empties that file.
pub fn gather_last_words(home: &Home, sentence: &str) -> Vec<u8> {
    let mut words = sentence.as_bytes()[..sentence.floor_char_boundary(SENTENCE_MAX)].to_vec();
    words.push(b'\n');
    // A child without a stderr file still gets its sentence.
    let _ = read_tail(&home.stderr(), &mut words);
    words
}

/// Writes last words. If that cannot be done nothing is lost but words; they are not synced for the same reason.
pub fn keep_last_words(home: &Home, words: &[u8]) {
    if write_beside(home, LAST_WORDS_TEMPORARY, words).is_ok() {
        let _ = fs::rename(home.supervisor().join(LAST_WORDS_TEMPORARY), home.last_words());
    }
}

/// Writes the note for `suction-cup status`. If that cannot be done nothing is lost but an answer.
pub fn keep_status(home: &Home, text: &str) {
    if write_beside(home, STATUS_TEMPORARY, text.as_bytes()).is_ok() {
        let _ = fs::rename(home.supervisor().join(STATUS_TEMPORARY), home.status());
    }
}

/// The beginning of a small file, for people; `None` where there is none.
pub fn read_small(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    open(OpenOptions::new().read(true), path).ok()?.take(SMALL_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether there is a home folder with marks that may be looked at; if not, why.
pub fn can_read(home: &Home) -> Result<(), String> {
    fs::read_dir(home.path()).map_err(|error| error.to_string())?;
    shown(fs::read_dir(home.supervisor()).map(drop))
}

fn shown(read: io::Result<()>) -> Result<(), String> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error.to_string()),
        // Whatever else is wrong with it is told with the versions.
        _ => Ok(()),
    }
}

fn read_tail(path: &Path, words: &mut Vec<u8>) -> io::Result<()> {
    let mut file = open(OpenOptions::new().read(true), path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_MAX)))?;
    file.take(TAIL_MAX).read_to_end(words)?;
    Ok(())
}

/// Opens the file for a child's stderr, empty. It is opened for appending, so that a process that the former child left
/// behind cannot write a hole into it.
pub fn open_stderr(home: &Home) -> io::Result<File> {
    let file = open_in_supervisor(home, OpenOptions::new().append(true), &home.stderr())?;
    // Emptying it once more would wake the guard for nothing.
    if file.metadata()?.len() > 0 {
        file.set_len(0)?;
    }
    Ok(file)
}

/// The folder that our own program lies in.
pub fn program_folder() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
}

/// The names of the files in `bundle/` beside our own program. A folder that cannot be read holds none.
pub fn bundled_names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let _ = read_folder(&folder.join("bundle"), |name, _| {
        if names.len() < BUNDLE_NAMES_MAX {
            names.push(name.to_owned());
        }
    });
    names
}

/// Makes the names in the folder `supervisor/` safe, and its own, for it may have been made a moment ago.
fn sync_supervisor(home: &Home) -> io::Result<()> {
    File::open(home.supervisor())?.sync_all()?;
    File::open(home.path())?.sync_all()
}

fn write_beside(home: &Home, name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = open_in_supervisor(home, OpenOptions::new().write(true), &home.supervisor().join(name))?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Opens a file of the folder `supervisor/`, and makes it, and the folder, if they are missing.
fn open_in_supervisor(home: &Home, options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let options = options.create(true);
    match open(options, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).create(home.supervisor())?;
            open(options, path)
        }
        opened => opened,
    }
}

/// Opens a regular file, and nothing else. One that is made is for our own eyes only.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.custom_flags(flags).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
