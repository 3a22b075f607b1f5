//! What the tests share: a home and packages in a temporary folder, and archives built entry by entry.
//!
//! Every test has its own folder, which is gone when the test ends.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use contract::{Home, PackageId, Version};
use package::{InstallError, Limits, PackRequest, PackageError, Staged, Verified};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A home folder and a folder for packages beside it.
pub struct Bench {
    folder: TempDir,
    pub home: Home,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        Self { folder, home }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file for a package.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A Tentacle package of this machine's runtime, whose program is a script that holds `text`.
    pub fn tentacle(&self, version: &str, text: &str) -> PathBuf {
        let out = self.path(&format!("packages-{text}"));
        fs::create_dir_all(&out).unwrap();
        let program = self.file("program", format!("#!/bin/sh\n# {text}\n"));
        package::pack_tentacle(package::current_runtime(), &v(version), &program, &out).unwrap()
    }

    /// An ordinary package of these files.
    pub fn package(&self, id: &str, version: &str, files: &[(&str, &str)]) -> PathBuf {
        let sources = self.path("sources");
        fs::create_dir_all(&sources).unwrap();
        let source = |(i, (name, text)): (usize, &(&str, &str))| {
            let path = sources.join(i.to_string());
            fs::write(&path, text).unwrap();
            (path, (*name).to_owned())
        };
        let files: Vec<_> = files.iter().enumerate().map(source).collect();
        let id: PackageId = id.parse().unwrap();
        let request = PackRequest { id: &id, version: &v(version), description: "d", authors: "a", files: &files };
        package::pack(&request, self.folder.path()).unwrap()
    }

    pub fn stage(&self, package: &Path) -> Result<Staged, InstallError> {
        package::stage_tentacle(&self.home, verify(package)?)
    }

    /// Everything in the home, relative to it, sorted. Empty where there is no home.
    pub fn tree(&self) -> Vec<String> {
        let mut paths = Vec::new();
        walk(self.home.path(), &mut paths);
        let mut names: Vec<_> =
            paths.iter().map(|path| path.strip_prefix(self.home.path()).unwrap().display().to_string()).collect();
        names.sort();
        names
    }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        paths.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), paths);
        }
    }
}

pub fn verify(package: &Path) -> Result<Verified, PackageError> {
    package::verify(package, None, &Limits::default())
}

pub fn v(text: &str) -> Version {
    text.parse().unwrap()
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A nuspec of the Tentacle package of this machine, version 1.0.0.
pub fn nuspec() -> String {
    format!(
        "<package><metadata><id>Octopus.Tentacle.{}</id><version>1.0.0</version></metadata></package>",
        package::current_runtime()
    )
}

/// The bytes of an archive that holds a nuspec and a program, and whatever `more` adds.
pub fn archive(more: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    add(&mut writer, "a.nuspec", nuspec().as_bytes());
    add(&mut writer, "tentacle", b"#!/bin/sh\n");
    more(&mut writer);
    writer.finish().unwrap().into_inner()
}

/// Adds a deflated entry.
pub fn add(writer: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, bytes: &[u8]) {
    writer.start_file(name, SimpleFileOptions::default()).unwrap();
    writer.write_all(bytes).unwrap();
}
