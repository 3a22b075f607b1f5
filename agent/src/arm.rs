//! Arms a version: what Suction Cup chooses changes here, and only here.
//!
//! Called by an upgrade, after the drain. Every change is durable before the next is made, and after each one the machine
//! would launch either what runs now or the version wished for, whenever the power goes.

use std::io;

use contract::{Home, Version};
use package::{Authority, InstallError, Staged, clear_mark, set_mark};

/// Why a version was not armed, or not wholly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArmError {
    #[error("the new version could not be put in its place")]
    Place(#[source] InstallError),
    #[error("could not look for other versions than {version}")]
    Look { version: Version, source: io::Error },
    #[error("could not {step} of version {version}")]
    Mark { step: &'static str, version: Version, source: io::Error },
}

/// A change of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// It has to prove itself again.
    TakeProof(Version),
    /// It is not to be chosen.
    Withdraw(Version),
}

/// Puts a version in its place and has it chosen. To an older one: it has to prove itself again, and every newer one is
/// withdrawn.
pub(crate) fn arm(home: &Home, staged: Staged, running: &Version) -> Result<(), ArmError> {
    let version = staged.version().clone();
    staged.arm(Authority::Commanded).map_err(ArmError::Place)?;
    let installed = home.installed_tentacles();
    let installed = installed.map_err(|source| ArmError::Look { version: version.clone(), source })?;
    for change in changes(&installed, &version, running) {
        make(home, &change)?;
    }
    Ok(())
}

/// The changes in their order. The version that runs is withdrawn last: it is what is chosen until then.
fn changes(installed: &[Version], version: &Version, running: &Version) -> Vec<Change> {
    let mut changes = Vec::new();
    if version < running {
        changes.push(Change::TakeProof(version.clone()));
    }
    let mut newer: Vec<&Version> = installed.iter().filter(|one| *one > version).collect();
    // Those that are newer than the running one first, the newest of all before the others: each would be chosen once
    // what is newer is gone.
    newer.sort_unstable_by(|a, b| (*a == running).cmp(&(*b == running)).then(b.cmp(a)));
    changes.extend(newer.into_iter().cloned().map(Change::Withdraw));
    changes
}

fn make(home: &Home, change: &Change) -> Result<(), ArmError> {
    let (done, step, version) = match change {
        Change::TakeProof(version) => (clear_mark(&home.proven(version)).map(drop), "remove the proof", version),
        Change::Withdraw(version) => (set_mark(&home.withdrawn(version)), "write the withdrawal", version),
    };
    done.map_err(|source| ArmError::Mark { step, version: version.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use contract::Verdicts;
    use package::{Limits, pack_tentacle, stage_installed, stage_tentacle};

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        (folder, home)
    }

    fn v(major: u32) -> Version {
        Version::release(major, 0, 0)
    }

    fn stage(home: &Home, version: &Version) -> Staged {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("program {version}")).unwrap();
        let path = pack_tentacle(package::current_runtime(), version, &program, folder.path()).unwrap();
        stage_tentacle(home, package::verify(&path, None, &Limits::default()).unwrap()).unwrap()
    }

    fn installed(home: &Home, versions: &[u32]) {
        for version in versions {
            stage(home, &v(*version)).arm(Authority::Commanded).unwrap();
            File::create(home.proven(&v(*version))).unwrap();
        }
    }

    /// What Suction Cup's page says it chooses.
    fn chosen(home: &Home) -> Option<Version> {
        let versions = home.installed_tentacles().unwrap();
        let marks = |version: &&Version| Verdicts::read(home, version);
        let good = versions.iter().find(|version| !marks(version).is_marked_bad());
        good.or_else(|| versions.iter().find(|version| marks(version).proven)).or(versions.first()).cloned()
    }

    #[test]
    fn going_back_withdraws_every_newer_version_and_takes_the_proof_away() {
        let (_folder, home) = home();
        installed(&home, &[1, 2, 3]);
        File::create(home.rejected(&v(1))).unwrap();
        arm(&home, stage_installed(&home, &v(1)).unwrap(), &v(3)).unwrap();
        let verdicts = [1, 2, 3].map(|major| Verdicts::read(&home, &v(major)));
        assert!(!verdicts[0].proven && !verdicts[0].is_marked_bad());
        assert!(verdicts[1].withdrawn && verdicts[2].withdrawn);
        assert_eq!(chosen(&home), Some(v(1)));
    }

    #[test]
    fn going_forward_withdraws_nothing_and_leaves_the_running_version_proven() {
        let (_folder, home) = home();
        installed(&home, &[1]);
        arm(&home, stage(&home, &v(2)), &v(1)).unwrap();
        let verdicts = [1, 2].map(|major| Verdicts::read(&home, &v(major)));
        assert!(verdicts[0].proven && !verdicts[0].withdrawn && !verdicts[1].withdrawn);
    }

    #[test]
    fn going_forward_again_to_a_version_that_was_taken_back_chooses_it() {
        let (_folder, home) = home();
        installed(&home, &[1, 2]);
        arm(&home, stage_installed(&home, &v(1)).unwrap(), &v(2)).unwrap();
        assert_eq!(chosen(&home), Some(v(1)));
        arm(&home, stage_installed(&home, &v(2)).unwrap(), &v(1)).unwrap();
        assert_eq!(chosen(&home), Some(v(2)));
    }

    /// Every set of five versions with every running one and every target, stopped after every change.
    #[test]
    fn a_kill_between_any_two_changes_leaves_what_runs_or_what_is_wished() {
        for running in 1..=4 {
            for target in (1..=5).filter(|target| *target != running) {
                let (_folder, home) = home();
                installed(&home, &[1, 2, 3, 4, 5]);
                for newer in (1..=5).filter(|one| *one > running) {
                    // Given up, or what runs would not be running.
                    fs::remove_file(home.proven(&v(newer))).unwrap();
                    fs::write(home.rejected(&v(newer)), "crashed").unwrap();
                    fs::write(home.launches(&v(newer)), "...").unwrap();
                }
                assert_eq!(chosen(&home), Some(v(running)));
                let is_safe = || [running, target].map(v).contains(&chosen(&home).unwrap());
                stage_installed(&home, &v(target)).unwrap().arm(Authority::Commanded).unwrap();
                assert!(is_safe(), "{running} to {target}: {:?}", chosen(&home));
                let versions = home.installed_tentacles().unwrap();
                for change in changes(&versions, &v(target), &v(running)) {
                    make(&home, &change).unwrap();
                    assert!(is_safe(), "{running} to {target} after {change:?}: {:?}", chosen(&home));
                }
                assert_eq!(chosen(&home), Some(v(target)));
            }
        }
    }
}
