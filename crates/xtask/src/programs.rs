//! The programs that the harness starts: built by cargo if they are not, and where they are then.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The packages that have a program which the harness starts.
const PACKAGES: [&str; 4] = ["octopus-server", "tentacle", "suction-cup", "package"];

/// What Suction Cup is shipped for: a program that depends on no library of the machine.
const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// Where the real programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `octopus-server`
    pub server: PathBuf,
    /// `tentacle`
    pub tentacle: PathBuf,
    /// `suction-cup`
    pub suction_cup: PathBuf,
    /// `install-package`
    pub install_package: PathBuf,
    /// What is started of them belongs to this harness; none: it belongs to nobody in particular.
    harness: Option<PathBuf>,
}

/// In the environment of everything that belongs to a harness: the harness's folder.
pub(crate) const HARNESS: &str = "OCTOPUS_HARNESS";

/// What the tests of this process share.
static FOR_TESTS: OnceCell<Programs> = OnceCell::const_new();

impl Programs {
    /// Builds the programs as they are released (`release`) or as they are developed. Blocks; cargo's words go to stderr.
    pub fn build(release: bool) -> anyhow::Result<Self> {
        let mut command = cargo("build");
        command.arg("--bins");
        for package in PACKAGES {
            command.args(["--package", package]);
        }
        if release {
            command.arg("--release");
        }
        Self::from_cargo(command)
    }

    /// The programs for tests, asked of cargo once per process. They are those that `cargo test --workspace` builds, in
    /// the same variant: after it there is nothing left to build, and before it nothing is built twice.
    pub async fn for_tests() -> anyhow::Result<&'static Self> {
        FOR_TESTS
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(|| {
                    let mut command = cargo("test");
                    command.args(["--workspace", "--no-run", "--quiet", "--test", "*"]);
                    Self::from_cargo(command)
                })
                .await?
            })
            .await
    }

    /// The same, with the Suction Cup that is shipped: linked statically. Fails where its target is not installed.
    pub fn with_static_supervisor(self) -> anyhow::Result<Self> {
        let mut command = cargo("build");
        command.args(["--profile", "supervisor", "--package", "suction-cup", "--target", STATIC_TARGET]);
        let messages = messages_of(command).with_context(|| format!("try rustup target add {STATIC_TARGET}"))?;
        let suction_cup = built(&messages).remove("suction-cup").context("cargo did not build suction-cup")?;
        Ok(Self { suction_cup, ..self })
    }

    /// The programs in a folder, which are not built.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let [server, tentacle, suction_cup, install_package] =
            ["octopus-server", "tentacle", "suction-cup", "install-package"].map(|name| folder.join(name));
        for program in [&server, &tentacle, &suction_cup, &install_package] {
            ensure!(program.is_file(), "there is no program {}", program.display());
        }
        Ok(Self { server, tentacle, suction_cup, install_package, harness: None })
    }

    /// The same programs, for one harness: everything that is made for them lies in `folder`, and every process carries
    /// it in its environment, so that somebody else can clean up after a harness that was killed.
    pub(crate) fn of_harness(self, folder: &Path) -> Self {
        Self { harness: Some(folder.to_owned()), ..self }
    }

    /// A call of one of them.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.envs(self.harness.iter().map(|folder| (HARNESS, folder)));
        command
    }

    /// A new folder for what they write, which goes with the answer.
    pub(crate) fn make_folder(&self, prefix: &str) -> io::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        match &self.harness {
            Some(folder) => builder.prefix(prefix).tempdir_in(folder),
            None => builder.prefix(prefix).tempdir(),
        }
    }

    fn from_cargo(command: Command) -> anyhow::Result<Self> {
        Self::from_messages(&messages_of(command)?)
    }

    fn from_messages(messages: &str) -> anyhow::Result<Self> {
        let mut built = built(messages);
        let mut take =
            |name: &str| built.remove(name).with_context(|| format!("cargo did not build the program {name}"));
        Ok(Self {
            server: take("octopus-server")?,
            tentacle: take("tentacle")?,
            suction_cup: take("suction-cup")?,
            install_package: take("install-package")?,
            harness: None,
        })
    }
}

/// What cargo says on stdout while it builds.
pub(crate) fn messages_of(mut command: Command) -> anyhow::Result<String> {
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo could not build the programs ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The programs that cargo speaks of, by name.
pub(crate) fn built(messages: &str) -> HashMap<String, PathBuf> {
    let mut built = HashMap::new();
    for line in messages.lines() {
        // Other messages have other shapes, and are of no interest.
        let Ok(artifact) = serde_json::from_str::<Artifact>(line) else { continue };
        if let (Some(program), false) = (artifact.executable, artifact.profile.test) {
            built.insert(artifact.target.name, program);
        }
    }
    built
}

/// The cargo that started us, without what it told us of ourselves: build scripts would take that for a change.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand);
    for (name, _) in std::env::vars_os() {
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "CARGO_CRATE_", "CARGO_BIN_NAME", "OUT_DIR"];
        if name.to_str().is_some_and(|name| ours.iter().any(|start| name.starts_with(start))) {
            command.env_remove(&name);
        }
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

#[derive(Deserialize)]
struct Artifact {
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["bin"]}},"profile":{{"test":{test}}},"executable":"/t/{name}-{test}"}}"#
        )
    }

    #[test]
    fn programs_are_told_from_their_tests_and_a_missing_one_is_named() {
        let names = ["octopus-server", "tentacle", "suction-cup", "install-package"];
        let mut lines: Vec<String> =
            names.iter().flat_map(|name| [message(name, true), message(name, false)]).collect();
        lines.push(r#"{"reason":"build-finished","success":true}"#.to_owned());
        let programs = Programs::from_messages(&lines.join("\n")).unwrap();
        assert_eq!(programs.tentacle, PathBuf::from("/t/tentacle-false"));
        let error = Programs::from_messages(&lines[2..].join("\n")).unwrap_err();
        assert_eq!(error.to_string(), "cargo did not build the program octopus-server");
    }
}
