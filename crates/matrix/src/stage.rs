//! The stage of one case: a home folder, an installation beside it, and who played there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::{Home, Version, env};
use package::{Authority, FileRecord, Limits, Manifest, PackRequest, pack, prepare_home, stage_tentacle, verify};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xtask::Process;

use crate::stand_in::{self, Play};

/// Between two looks at what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// The real Tentacle's program, beside the script that becomes it.
const REAL_PROGRAM: &str = "tentacle-real";

/// How long the end of a Tentacle is waited for that ends with its parent.
const ORPHAN_LIMIT: Duration = Duration::from_secs(10);

/// The real programs, and our own.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `suction-cup`
    pub suction_cup: PathBuf,
    /// `install-package`
    pub install_package: PathBuf,
    /// `tentacle`
    pub tentacle: PathBuf,
    /// The program that is the stand-in when its first word says so.
    pub stand_in: PathBuf,
}

impl Programs {
    /// Those that cargo built.
    pub fn of(built: &xtask::Programs, stand_in: PathBuf) -> Self {
        let (suction_cup, install_package) = (built.suction_cup.clone(), built.install_package.clone());
        Self { suction_cup, install_package, tentacle: built.tentacle.clone(), stand_in }
    }

    /// Those in a folder.
    pub fn in_folder(folder: &Path, stand_in: PathBuf) -> Self {
        let program = |name: &str| folder.join(name);
        let (suction_cup, install_package) = (program("suction-cup"), program("install-package"));
        Self { suction_cup, install_package, tentacle: program("tentacle"), stand_in }
    }
}

/// What all stages are made of.
#[derive(Debug)]
pub struct Kit {
    programs: Programs,
    folder: TempDir,
}

/// The version that is there first.
pub fn old() -> Version {
    Version::release(1, 0, 0)
}

/// The one that comes.
pub fn new() -> Version {
    Version::release(2, 0, 0)
}

impl Kit {
    /// Packs the packages and installs them once. Everything lies in one folder, so that stages are made by links.
    pub fn make(programs: &Programs) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("matrix-").tempdir()?;
        let place = |program: &Path, name: &str| -> anyhow::Result<PathBuf> {
            let path = folder.path().join(name);
            fs::hard_link(program, &path)
                .or_else(|_| fs::copy(program, &path).map(drop))
                .with_context(|| format!("cannot copy {}", program.display()))?;
            Ok(path)
        };
        let programs = Programs {
            suction_cup: place(&programs.suction_cup, "suction-cup")?,
            install_package: place(&programs.install_package, "install-package")?,
            tentacle: place(&programs.tentacle, "tentacle")?,
            stand_in: place(&programs.stand_in, "stand-in")?,
        };
        let kit = Self { programs, folder };
        let home = Home::new(kit.folder.path().join("home"));
        prepare_home(&home)?;
        for version in [old(), new()] {
            let package = kit.pack(&version)?;
            stage_tentacle(&home, verify(&package, None, &Limits::default())?)?.arm(Authority::Commanded)?;
        }
        kit.write_launcher()?;
        Ok(kit)
    }

    /// Writes what is launched in place of the real Tentacle: a script that becomes it, at its first launch behind the
    /// words that lie on the stage.
    fn write_launcher(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().join("real");
        fs::create_dir(&folder)?;
        let script = format!(
            "#!/bin/sh\ncd \"$OCTOPUS_TENTACLE_HOME\"\nprogram=\"$(dirname \"$0\")/{REAL_PROGRAM}\"\n\
             if mv ../trace ../traced 2>/dev/null; then exec $(cat ../traced) -- \"$program\" \"$@\"; fi\n\
             exec \"$program\" \"$@\"\n"
        );
        fs::write(folder.join("tentacle"), &script)?;
        fs::set_permissions(folder.join("tentacle"), fs::Permissions::from_mode(0o755))?;
        let sha256 = package::sha256_bytes(script.as_bytes());
        let record = FileRecord { path: "tentacle".to_owned(), size: script.len() as u64, sha256, mode: 0o755 };
        let id = format!("Octopus.Tentacle.{}", package::current_runtime()).parse()?;
        let manifest = Manifest { id, version: old(), sha256, files: vec![record] };
        Ok(fs::write(folder.join(Home::MANIFEST), serde_json::to_vec(&manifest)?)?)
    }

    fn pack(&self, version: &Version) -> anyhow::Result<PathBuf> {
        let (program, data) = (self.folder.path().join("program"), self.folder.path().join("data"));
        fs::write(&program, format!("#!{} {}\n", self.programs.stand_in.display(), stand_in::WORD))?;
        fs::write(&data, version.to_string().repeat(100))?;
        let files = [(program, "tentacle".to_owned()), (data, "lib/data".to_owned())];
        let id = format!("Octopus.Tentacle.{}", package::current_runtime()).parse()?;
        let request = PackRequest { id: &id, version, description: "Stands in.", authors: "Octopus", files: &files };
        pack(&request, self.folder.path()).context("cannot pack")
    }

    /// The package of a version.
    pub fn package(&self, version: &Version) -> PathBuf {
        let runtime = package::current_runtime();
        self.folder.path().join(format!("Octopus.Tentacle.{runtime}.{version}.nupkg"))
    }

    /// A version's complete folder.
    pub fn installed(&self, version: &Version) -> PathBuf {
        Home::new(self.folder.path().join("home")).tentacle(version)
    }

    /// A new stage: the programs of an installation, and no home folder yet.
    pub fn stage(&self) -> anyhow::Result<Stage> {
        let folder = tempfile::Builder::new().prefix("case-").tempdir_in(self.folder.path())?;
        let program = folder.path().join("program");
        fs::create_dir_all(program.join("bundle"))?;
        fs::hard_link(&self.programs.suction_cup, program.join("suction-cup"))?;
        fs::hard_link(&self.programs.install_package, program.join("install-package"))?;
        let home = Home::new(folder.path().join("home"));
        Ok(Stage { home, folder })
    }
}

/// Where one case plays.
#[derive(Debug)]
pub struct Stage {
    /// The home folder.
    pub home: Home,
    folder: TempDir,
}

/// A line of the notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// True for a stand-in that runs on, false for one that only started.
    pub ready: bool,
    /// Its version.
    pub version: Version,
    pid: i32,
}

impl Stage {
    /// The folder around the home.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    /// The program of the installation on this stage.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join("program").join(name)
    }

    /// Puts a package beside Suction Cup.
    pub fn bundle(&self, package: &Path) -> anyhow::Result<PathBuf> {
        let path = self.program("bundle").join(package.file_name().context("a package without a name")?);
        fs::hard_link(package, &path)?;
        Ok(path)
    }

    /// Makes the folders of a home.
    pub fn prepare_home(&self) -> anyhow::Result<()> {
        Ok(prepare_home(&self.home)?)
    }

    /// Installs a complete version under this name of the folder `.Tentacle`.
    pub fn install(&self, complete: &Path, name: &str) -> anyhow::Result<()> {
        copy_folder(complete, &self.home.tentacles().join(name))
    }

    /// Installs the real Tentacle as the first version.
    pub fn install_real(&self, kit: &Kit) -> anyhow::Result<()> {
        let folder = self.home.tentacle(&old());
        fs::create_dir(&folder)?;
        for name in ["tentacle", Home::MANIFEST] {
            fs::hard_link(kit.folder.path().join("real").join(name), folder.join(name))?;
        }
        Ok(fs::hard_link(&kit.programs.tentacle, folder.join(REAL_PROGRAM))?)
    }

    /// Marks a version as proven.
    pub fn prove(&self, version: &Version) -> anyhow::Result<()> {
        Ok(fs::write(self.home.proven(version), "")?)
    }

    /// Says what the stand-in of a version does.
    pub fn play(&self, version: &Version, play: Play) -> anyhow::Result<()> {
        Ok(fs::write(stand_in::play(&self.home, version), play.word())?)
    }

    /// From now on nothing is interfered with.
    pub fn calm(&self) -> anyhow::Result<()> {
        Ok(fs::write(stand_in::calm(&self.home), "")?)
    }

    /// Starts a command with our settings, its words in the stage's log.
    pub fn start(&self, mut command: Command, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with(env::SUCTION_CUP_PREFIX)) {
                command.env_remove(name);
            }
        }
        command.env_remove(env::TENTACLE_HOME).envs(settings.iter().copied());
        Process::start(command, &self.folder.path().join("log"))
    }

    /// The command that starts this stage's Suction Cup, behind these words.
    pub fn supervisor(&self, traced: &[String]) -> Command {
        let mut command = self.command(traced, "suction-cup");
        command.arg("--home").arg(self.home.path());
        command
    }

    /// The command that starts a program of this stage, behind these words.
    pub fn command(&self, traced: &[String], name: &str) -> Command {
        match traced {
            [] => Command::new(self.program(name)),
            words => crate::strace::command(words, &self.program(name)),
        }
    }

    /// What the stand-ins noted.
    pub fn notes(&self) -> Vec<Note> {
        let text = fs::read_to_string(stand_in::notes(&self.home)).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split(' ');
            let ready = words.next()? == "ready";
            Some(Note { ready, version: words.next()?.parse().ok()?, pid: words.next()?.parse().ok()? })
        };
        text.lines().filter_map(read).collect()
    }

    /// The version of the newest stand-in, if it runs on.
    pub fn running(&self) -> Option<Version> {
        self.notes().last().filter(|note| note.ready && self.is_alive(note.pid)).map(|note| note.version.clone())
    }

    /// The Tentacles that are alive, however far they came.
    pub fn alive(&self) -> BTreeSet<i32> {
        let stand_ins = self.notes().into_iter().map(|note| note.pid).filter(|pid| self.is_alive(*pid));
        stand_ins.chain(self.real_ones()).collect()
    }

    /// The real Tentacle that is alive; an error where there is none, or more than one.
    pub fn real_one(&self) -> anyhow::Result<i32> {
        let all = self.real_ones();
        ensure!(all.len() == 1, "{} Tentacles run", all.len());
        Ok(all[0])
    }

    /// The words in a file on the stage, which is gone then.
    pub fn take_words(&self, name: &str) -> anyhow::Result<Option<Vec<String>>> {
        let path = self.folder.path().join(name);
        if !path.exists() {
            return Ok(None);
        }
        let words = fs::read_to_string(&path)?.split(' ').map(str::to_owned).collect();
        fs::remove_file(path)?;
        Ok(Some(words))
    }

    fn real_ones(&self) -> Vec<i32> {
        if !self.home.tentacle(&old()).join(REAL_PROGRAM).exists() {
            return Vec::new();
        }
        let is_real =
            |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.ends_with(REAL_PROGRAM));
        let all = xtask::processes_of(self.home.path()).into_iter();
        all.filter(is_real).filter_map(|pid| pid.try_into().ok()).collect()
    }

    fn is_alive(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let wanted = format!("{}={}", env::TENTACLE_HOME, self.home.path().display());
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    }

    /// Waits until every stand-in is gone.
    pub fn is_left_by_all(&self) -> bool {
        wait(ORPHAN_LIMIT, || self.alive().is_empty().then_some(())).is_some()
    }

    /// The complete versions; an error names the first that is visible and not complete.
    pub fn complete_versions(&self) -> anyhow::Result<BTreeSet<Version>> {
        let versions = self.home.installed_tentacles()?;
        for version in &versions {
            let folder = self.home.tentacle(version);
            let manifest = Manifest::read(&folder).with_context(|| format!("{version} is visible and torn"))?;
            manifest.verify(&folder).with_context(|| format!("{version} is visible and torn"))?;
            ensure!(manifest.version == *version, "{version} holds {}", manifest.version);
        }
        Ok(versions.into_iter().collect())
    }

    /// What everybody wrote, for a report of a failure.
    pub fn words(&self) -> String {
        let notes: Vec<_> = self.notes().iter().map(|note| format!("{}:{}", note.version, note.ready)).collect();
        format!("log: {:?}; notes: {notes:?}", xtask::log_tail(&self.folder.path().join("log")))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for number in self.alive() {
            if let Some(pid) = Pid::from_raw(number) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Looks again and again until there is something, or the time is over.
pub fn wait<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() > limit {
            return found;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Copies a folder with everything in it, modes too.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
