//! Which scripts of an installed package run, by their names alone. Pure discovery: whoever calls it runs them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// When a script runs, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Before the configuration is changed.
    PreDeploy,
    /// Once it is.
    Deploy,
    /// After the deployment.
    PostDeploy,
    /// When any of the others failed.
    DeployFailed,
}

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interpreter {
    /// `.sh`
    Bash,
    /// `.py`
    Python,
    /// `.ps1`
    PowerShell,
}

/// A script that a package wants to have run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// When.
    pub stage: Stage,
    /// The file, in the root of the package's folder.
    pub path: PathBuf,
    /// With what.
    pub interpreter: Interpreter,
}

impl Stage {
    const ALL: [Self; 4] = [Self::PreDeploy, Self::Deploy, Self::PostDeploy, Self::DeployFailed];

    /// The name of the stage's script, less its extension.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreDeploy => "PreDeploy",
            Self::Deploy => "Deploy",
            Self::PostDeploy => "PostDeploy",
            Self::DeployFailed => "DeployFailed",
        }
    }
}

impl Interpreter {
    /// In the order of preference, where a stage has several scripts.
    const ALL: [Self; 3] = [Self::Bash, Self::Python, Self::PowerShell];

    /// The extension of its scripts, less the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Bash => "sh",
            Self::Python => "py",
            Self::PowerShell => "ps1",
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bash => "Bash",
            Self::Python => "Python",
            Self::PowerShell => "PowerShell",
        }
    }
}

/// The scripts in the root of `folder` that run, at most one for each stage, in the order of the stages. Names are
/// compared without regard to case. Of several scripts of a stage the first in the order Bash, Python, PowerShell runs
/// whose interpreter is `available`.
///
/// A stage that has scripts but no interpreter for any is an error that names them: a deployment that left its script
/// out in silence would look like a success.
pub fn find_scripts(folder: &Path, available: &dyn Fn(Interpreter) -> bool) -> io::Result<Vec<Script>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some((stage, interpreter)) = entry.file_name().to_str().and_then(read_name)
            && entry.file_type()?.is_file()
        {
            found.push(Script { stage, path: entry.path(), interpreter });
        }
    }
    // By stage, then by preference, then by name: the same files always give the same scripts.
    found.sort_by(|a, b| (a.stage, a.interpreter, &a.path).cmp(&(b.stage, b.interpreter, &b.path)));
    let mut scripts = Vec::new();
    for stage in Stage::ALL {
        let of_stage = || found.iter().filter(|script| script.stage == stage);
        match of_stage().find(|script| available(script.interpreter)) {
            Some(script) => scripts.push(script.clone()),
            None if of_stage().next().is_some() => return Err(no_interpreter(of_stage())),
            None => {}
        }
    }
    Ok(scripts)
}

fn read_name(name: &str) -> Option<(Stage, Interpreter)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let stage = Stage::ALL.into_iter().find(|stage| stage.name().eq_ignore_ascii_case(stem))?;
    let interpreter = Interpreter::ALL.into_iter().find(|i| i.extension().eq_ignore_ascii_case(extension))?;
    Some((stage, interpreter))
}

fn no_interpreter<'a>(scripts: impl Iterator<Item = &'a Script>) -> io::Error {
    let missing = scripts.map(|script| {
        let name = script.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name} needs {}, which this machine does not have", script.interpreter.name())
    });
    let missing = missing.collect::<Vec<_>>().join("; ");
    io::Error::new(io::ErrorKind::Unsupported, format!("{missing}: install it, or add the script in another language"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(files: &[&str], available: &[Interpreter]) -> io::Result<Vec<(Stage, String)>> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), "").unwrap();
        }
        let name = |script: Script| (script.stage, script.path.file_name().unwrap().to_str().unwrap().to_owned());
        let scripts = find_scripts(folder.path(), &|interpreter| available.contains(&interpreter))?;
        Ok(scripts.into_iter().map(name).collect())
    }

    #[test]
    fn scripts_are_found_in_the_root_in_any_case_in_the_order_of_stages() {
        let files =
            ["postdeploy.SH", "DEPLOY.py", "PreDeploy.ps1", "deployfailed.sh", "sub/Deploy.sh", "Deploy.cmd", "a.sh"];
        let found = find(&files, &Interpreter::ALL).unwrap();
        let expected = [
            (Stage::PreDeploy, "PreDeploy.ps1"),
            (Stage::Deploy, "DEPLOY.py"),
            (Stage::PostDeploy, "postdeploy.SH"),
            (Stage::DeployFailed, "deployfailed.sh"),
        ];
        assert_eq!(found, expected.map(|(stage, name)| (stage, name.to_owned())));
    }

    #[test]
    fn one_script_of_a_stage_runs_bash_before_python_before_powershell() {
        let files = ["Deploy.ps1", "Deploy.py", "Deploy.sh"];
        let name = |available: &[Interpreter]| find(&files, available).unwrap().remove(0).1;
        assert_eq!(name(&Interpreter::ALL), "Deploy.sh");
        assert_eq!(name(&[Interpreter::Python, Interpreter::PowerShell]), "Deploy.py");
        assert_eq!(name(&[Interpreter::PowerShell]), "Deploy.ps1");
    }

    #[test]
    fn a_script_without_its_interpreter_is_an_error_that_names_both() {
        let error = find(&["PreDeploy.sh", "Deploy.ps1"], &[Interpreter::Bash]).unwrap_err();
        assert!(error.to_string().starts_with("Deploy.ps1 needs PowerShell, which"), "{error}");
    }

    #[test]
    fn a_folder_or_a_link_is_no_script() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("Deploy.sh")).unwrap();
        std::os::unix::fs::symlink("/bin/true", folder.path().join("PreDeploy.sh")).unwrap();
        assert_eq!(find_scripts(folder.path(), &|_| true).unwrap(), []);
        assert!(find_scripts(&folder.path().join("missing"), &|_| true).is_err());
    }
}
