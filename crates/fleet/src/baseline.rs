//! The least that putting a package on a machine can cost: the same bytes copied and unpacked, with no network, no
//! digest and no sync. Measured in the same run, because computers are noisy. What is unpacked stays until the end of
//! the run: a disk is slow to make files where it has just deleted many.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::usage::{cpu_time, cpu_time_of_children};

/// CPU time per machine of copying `package` and unpacking the copy in this process, into new folders in `folder`.
pub(crate) fn copy_and_unpack(package: &Path, folder: &Path, machines: u32) -> anyhow::Result<Duration> {
    let own = std::process::id();
    let before = cpu_time(own)?;
    for number in 0..machines {
        let to = folder.join(format!("unpacked-{number}"));
        fs::create_dir(&to)?;
        let copy = to.join("package.zip");
        fs::copy(package, &copy)?;
        let mut archive = zip::ZipArchive::new(io::BufReader::new(File::open(&copy)?))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let path = to.join(entry.enclosed_name().context("the package has a strange name")?);
            fs::create_dir_all(path.parent().unwrap_or(&to))?;
            io::copy(&mut entry, &mut File::create(path)?)?;
        }
    }
    Ok(cpu_time(own)?.saturating_sub(before) / machines)
}

/// CPU time per machine of the programs `cp` and `unzip` for the same; `None` where one of them is missing.
pub(crate) fn cp_and_unzip(package: &Path, folder: &Path, machines: u32) -> anyhow::Result<Option<Duration>> {
    let own = std::process::id();
    let before = cpu_time_of_children(own)?;
    for number in 0..machines {
        let to = folder.join(format!("unzipped-{number}"));
        fs::create_dir(&to)?;
        let copy = to.join("package.zip");
        let mut unzip = Command::new("unzip");
        unzip.arg("-q").arg(&copy).arg("-d").arg(&to);
        if !run(Command::new("cp").arg(package).arg(&copy))? || !run(&mut unzip)? {
            return Ok(None);
        }
    }
    Ok(Some(cpu_time_of_children(own)?.saturating_sub(before) / machines))
}

/// False where the program is missing.
fn run(command: &mut Command) -> anyhow::Result<bool> {
    let status = match command.stdin(Stdio::null()).stdout(Stdio::null()).status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        status => status?,
    };
    ensure!(status.success(), "{} failed ({status})", command.get_program().display());
    Ok(true)
}
