//! Tentacle packages for demos and tests: the real program under any version, and programs that are broken on purpose.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::Context as _;
use contract::{PackageId, Version};
use package::{PackRequest, current_runtime, pack};

use crate::programs::Programs;

/// The name of the real program in a package whose `tentacle` is a script that starts it.
const REAL_PROGRAM: &str = "tentacle-real";

/// What a packed Tentacle does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// What a Tentacle does.
    #[default]
    Real,
    /// Writes a sentence to stderr and ends at once.
    Crash,
    /// Runs and never listens.
    Hang,
    /// Is the real program, but listens where the portal does not look for it.
    Mute,
}

impl Flavor {
    /// The last words of [`Flavor::Crash`].
    pub const CRASH_WORDS: &'static str = "this Tentacle was packed to end at once";

    /// The code that [`Flavor::Crash`] ends with.
    pub const CRASH_CODE: i32 = 3;

    /// In lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Mute => "mute",
        }
    }

    /// The script that stands in for the program; `None` where it is the program.
    fn script(self) -> Option<String> {
        match self {
            Self::Real => None,
            Self::Crash => Some(format!("echo '{}' >&2\nexit {}\n", Self::CRASH_WORDS, Self::CRASH_CODE)),
            Self::Hang => Some("exec sleep 86400\n".to_owned()),
            Self::Mute => Some(format!(
                "OCTOPUS_TENTACLE_LISTEN=127.0.0.1:0\nexport OCTOPUS_TENTACLE_LISTEN\n\
                 exec \"$(dirname \"$0\")/{REAL_PROGRAM}\" \"$@\"\n"
            )),
        }
    }
}

/// The version of this workspace, which is that of the portal and of the Tentacle it bundles.
pub fn product_version() -> Version {
    env!("CARGO_PKG_VERSION").parse().expect("cargo's version is a version")
}

/// Packs `program` as the Tentacle of a runtime into the folder `out`, which is made if it is not there, and returns the
/// package's path. A Tentacle's version is that of its package, so one program under two versions is two Tentacles.
pub fn pack_tentacle(
    program: &Path,
    flavor: Flavor,
    runtime: &str,
    version: &Version,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let Some(script) = flavor.script() else {
        return Ok(package::pack_tentacle(runtime, version, program, out)?);
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tentacle");
    fs::write(&path, format!("#!/bin/sh\n{script}"))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    let mut files = vec![(path, "tentacle".to_owned())];
    if flavor == Flavor::Mute {
        files.push((program.to_owned(), REAL_PROGRAM.to_owned()));
    }
    let id = PackageId::tentacle(runtime)?;
    let description = "A Tentacle that is broken on purpose.";
    Ok(pack(&PackRequest { id: &id, version, description, authors: "Octopus", files: &files }, out)?)
}

/// The package of the built Tentacle in this flavor and version, alone in its folder. It is packed once for each build
/// of the program and kept beside it; several processes may ask at once. Blocks.
pub fn packed_tentacle(programs: &Programs, flavor: Flavor, version: &Version) -> anyhow::Result<PathBuf> {
    let program = &programs.tentacle;
    let metadata = fs::metadata(program).with_context(|| format!("cannot look at {}", program.display()))?;
    let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let all = program.parent().unwrap_or(Path::new(".")).join("octopus-packages");
    fs::create_dir_all(&all)?;
    let lock = File::create(all.join("lock"))?;
    lock.lock()?;
    let build = all.join(format!("{:x}-{modified:x}", metadata.len()));
    if !build.exists() {
        remove_other_builds(&all)?;
        fs::create_dir(&build)?;
    }
    let runtime = current_runtime();
    let out = build.join(format!("{}-{}", flavor.word(), version.folder_name()));
    let path = out.join(format!("{}.{version}.nupkg", PackageId::tentacle(runtime)?));
    if path.exists() {
        return Ok(path);
    }
    let small = build.join("tentacle");
    if !small.exists() {
        strip(program, &small)?;
    }
    pack_tentacle(&small, flavor, runtime, version, &out)
}

/// Copies a program without what only a debugger reads, which is most of it in a development build. Where the tool is
/// missing it is copied whole.
fn strip(program: &Path, to: &Path) -> anyhow::Result<()> {
    let partial = to.with_extension("partial");
    let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let stripped = quiet(Command::new("strip").arg("-o").arg(&partial).arg(program));
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(program, &partial).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(fs::rename(&partial, to)?)
}

fn remove_other_builds(all: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(all)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove the old packages {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use package::{Limits, PackageFile};

    use super::*;

    #[test]
    fn every_flavor_is_a_tentacle_package_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        let version = "2026.4.0".parse().unwrap();
        for (flavor, files) in [(Flavor::Real, 1), (Flavor::Crash, 1), (Flavor::Hang, 1), (Flavor::Mute, 2)] {
            let out = folder.path().join(flavor.word());
            let path = pack_tentacle(&program, flavor, "linux-x64", &version, &out).unwrap();
            assert_eq!(path.file_name().unwrap(), "Octopus.Tentacle.linux-x64.2026.4.0.nupkg");
            let package = PackageFile::open(&path, &Limits::default()).unwrap();
            assert_eq!(package.nuspec().version, version);
            assert_eq!(package.files().len(), files, "{flavor:?}");
        }
    }

    #[test]
    fn packages_are_packed_once_for_each_build() {
        let folder = tempfile::tempdir().unwrap();
        let tentacle = folder.path().join("tentacle");
        fs::write(&tentacle, "one").unwrap();
        for program in ["octopus-server", "suction-cup", "install-package"] {
            fs::write(folder.path().join(program), "").unwrap();
        }
        let programs = Programs::in_folder(folder.path()).unwrap();
        let version = "2026.4.0".parse().unwrap();
        let first = packed_tentacle(&programs, Flavor::Real, &version).unwrap();
        let written = fs::metadata(&first).unwrap().modified().unwrap();
        assert_eq!(packed_tentacle(&programs, Flavor::Real, &version).unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);

        fs::write(&programs.tentacle, "another").unwrap();
        let second = packed_tentacle(&programs, Flavor::Real, &version).unwrap();
        assert_ne!(second, first);
        assert!(!first.exists(), "packages of an old build go");
    }
}
