//! Packages on their way into a home folder: staged, armed, repaired, refused, raced for, and cleaned up.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use crate::common::{Bench, mode, v, verify};
use contract::{EnvironmentName, Home, Sha256};
use package::{
    Authority, BundleOutcome, InstallError, Limits, Manifest, Outcome, PackageError, find_scripts, install_application,
    install_tentacle_bundle, retain_tentacles, stage_installed, stage_tentacle, sweep_incoming,
};

fn install(bench: &Bench, package: &Path) -> Result<Outcome, InstallError> {
    Ok(bench.stage(package)?.arm(Authority::Commanded)?.outcome)
}

fn production() -> EnvironmentName {
    "Production".parse().unwrap()
}

#[test]
fn a_tentacle_is_visible_once_it_is_armed_and_complete() {
    let bench = Bench::new();
    let staged = bench.stage(&bench.tentacle("2.0-RC", "a")).unwrap();
    assert_eq!(staged.version(), &v("2.0.0-rc"));
    assert_eq!(bench.home.installed_tentacles().unwrap(), []);

    let installed = staged.arm(Authority::Commanded).unwrap();
    assert_eq!(installed.outcome, Outcome::New);
    assert_eq!(installed.folder, bench.home.tentacle(&v("2.0-rc")));
    assert_eq!(bench.home.installed_tentacles().unwrap(), [v("2.0-rc")]);
    let folder = "Applications/.Tentacle/2.0.0-rc";
    let expected = [
        "Applications",
        "Applications/.Tentacle",
        folder,
        &format!("{folder}/.octopus-package"),
        &format!("{folder}/tentacle"),
        "Packages",
        "Work",
        "supervisor",
    ];
    assert_eq!(bench.tree(), expected);
    let program = bench.home.tentacle_program(&v("2.0-rc"));
    assert_eq!(fs::read_to_string(&program).unwrap(), "#!/bin/sh\n# a\n");
    let modes = [&program, &installed.folder, &bench.home.supervisor(), &bench.home.packages(), &bench.home.work()];
    assert_eq!(modes.map(|path| mode(path)), [0o755, 0o755, 0o700, 0o700, 0o700]);
}

#[test]
fn an_upgrade_that_is_not_armed_leaves_nothing() {
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    let before = bench.tree();
    let staged = bench.stage(&bench.tentacle("1.0.0", "a")).unwrap();
    assert!(bench.tree().len() > before.len());
    drop(staged);
    assert_eq!(bench.tree(), before);
}

#[test]
fn a_version_that_is_there_and_intact_is_left_alone() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    assert_eq!(install(&bench, &package).unwrap(), Outcome::New);
    let before = fs::metadata(bench.home.tentacle_program(&v("1.0"))).unwrap().modified().unwrap();
    assert_eq!(install(&bench, &package).unwrap(), Outcome::AlreadyThere);
    assert_eq!(fs::metadata(bench.home.tentacle_program(&v("1.0"))).unwrap().modified().unwrap(), before);
}

#[test]
fn a_damaged_version_is_replaced() {
    let damages: [fn(&Home); 5] = [
        |home| fs::write(home.tentacle_program(&v("1.0")), "").unwrap(),
        |home| fs::remove_file(home.tentacle_program(&v("1.0"))).unwrap(),
        |home| fs::write(home.tentacle(&v("1.0")).join(Home::MANIFEST), "{}").unwrap(),
        |home| {
            fs::remove_dir_all(home.tentacle(&v("1.0")))
                .and_then(|()| fs::create_dir(home.tentacle(&v("1.0"))))
                .unwrap()
        },
        |home| {
            fs::remove_dir_all(home.tentacle(&v("1.0"))).and_then(|()| fs::write(home.tentacle(&v("1.0")), "")).unwrap()
        },
    ];
    for damage in damages {
        let bench = Bench::new();
        let package = bench.tentacle("1.0.0", "a");
        install(&bench, &package).unwrap();
        let intact = bench.tree();
        damage(&bench.home);
        assert_eq!(install(&bench, &package).unwrap(), Outcome::Repaired);
        assert_eq!(bench.tree(), intact, "and what was damaged is gone");
        let folder = bench.home.tentacle(&v("1.0"));
        Manifest::read(&folder).unwrap().verify(&folder).unwrap();
    }
}

#[test]
fn a_version_with_other_bytes_is_refused() {
    let bench = Bench::new();
    install(&bench, &bench.tentacle("1.0.0", "a")).unwrap();
    let before = bench.tree();
    let error = bench.stage(&bench.tentacle("1.0.0", "b")).unwrap_err();
    assert!(matches!(error, InstallError::OtherBytes { .. }), "{error}");
    assert_eq!(bench.tree(), before);
    assert!(fs::read_to_string(bench.home.tentacle_program(&v("1.0"))).unwrap().contains("# a"));
}

#[test]
fn a_version_that_another_installer_armed_meanwhile_is_found() {
    let bench = Bench::new();
    let (a, b) = (bench.tentacle("1.0.0", "a"), bench.tentacle("1.0.0", "b"));
    let (first, second, other) = (bench.stage(&a).unwrap(), bench.stage(&a).unwrap(), bench.stage(&b).unwrap());
    assert_eq!(first.arm(Authority::Commanded).unwrap().outcome, Outcome::New);
    assert_eq!(second.arm(Authority::Commanded).unwrap().outcome, Outcome::AlreadyThere);
    assert!(matches!(other.arm(Authority::Commanded), Err(InstallError::OtherBytes { .. })));
    assert_eq!(fs::read_dir(bench.home.tentacles()).unwrap().count(), 1);
}

#[test]
fn a_version_that_vanishes_before_it_is_armed_again_is_no_success() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    install(&bench, &package).unwrap();
    let staged = bench.stage(&package).unwrap();
    fs::remove_dir_all(bench.home.tentacle(&v("1.0"))).unwrap();
    assert!(matches!(staged.arm(Authority::Commanded), Err(InstallError::Gone { .. })));
}

#[test]
fn an_installed_version_is_armed_again_without_its_package() {
    let bench = Bench::new();
    install(&bench, &bench.tentacle("1.0.0", "a")).unwrap();
    mark_all(&bench);
    let before = bench.tree();
    let staged = stage_installed(&bench.home, &v("1.0")).unwrap();
    assert_eq!(bench.tree(), before, "staging alone changes nothing");
    assert_eq!(staged.arm(Authority::Commanded).unwrap().outcome, Outcome::AlreadyThere);
    let left: Vec<_> = bench.tree().into_iter().filter(|path| path.starts_with("supervisor/")).collect();
    assert_eq!(left, ["supervisor/1.0.0.proven", "supervisor/2.0.0.rejected"]);
}

#[test]
fn a_version_that_is_gone_or_damaged_is_not_armed_without_its_package() {
    let bench = Bench::new();
    let (version, program) = (v("1.0"), bench.home.tentacle_program(&v("1.0")));
    assert!(matches!(stage_installed(&bench.home, &version), Err(InstallError::NotInstalled { .. })));
    let package = bench.tentacle("1.0.0", "a");
    install(&bench, &package).unwrap();
    mark_all(&bench);
    let staged = stage_installed(&bench.home, &version).unwrap();
    fs::write(&program, "#!/bin/sh\n# b\n").unwrap();
    let marks = bench.tree();
    assert!(matches!(stage_installed(&bench.home, &version), Err(InstallError::Damaged { .. })));
    assert!(matches!(staged.arm(Authority::Commanded), Err(InstallError::Gone { .. })), "it is looked at again");
    assert_eq!(bench.tree(), marks, "no verdict was touched");

    install(&bench, &package).unwrap();
    fs::remove_file(&program).unwrap();
    assert!(matches!(stage_installed(&bench.home, &version), Err(InstallError::Damaged { .. })));
    fs::remove_file(bench.home.tentacle(&version).join(Home::MANIFEST)).unwrap();
    assert!(matches!(stage_installed(&bench.home, &version), Err(InstallError::Damaged { .. })));

    install(&bench, &package).unwrap();
    fs::rename(bench.home.tentacle(&version), bench.home.tentacle(&v("1.1"))).unwrap();
    assert!(matches!(stage_installed(&bench.home, &version), Err(InstallError::NotInstalled { .. })));
    assert!(matches!(stage_installed(&bench.home, &v("1.1")), Err(InstallError::OtherRecord { .. })));
}

#[test]
fn the_count_of_launches_is_cleared_before_what_keeps_a_version_from_being_chosen() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    install(&bench, &package).unwrap();
    let (home, version) = (&bench.home, v("1.0"));
    for blocked in [home.rejected(&version), home.withdrawn(&version)] {
        mark_all(&bench);
        fs::remove_file(&blocked).unwrap();
        // It cannot be cleared: the installer is held up here as by a power cut.
        fs::create_dir_all(blocked.join("full")).unwrap();
        bench.stage(&package).unwrap().arm(Authority::Commanded).unwrap_err();
        assert!(blocked.exists() && !home.launches(&version).exists());
        fs::remove_dir_all(&blocked).unwrap();
    }
}

#[test]
fn many_installers_of_one_version_race_safely() {
    const INSTALLERS: usize = 8;
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    let barrier = Barrier::new(INSTALLERS);
    let race = || {
        barrier.wait();
        install(&bench, &package).unwrap()
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..INSTALLERS).map(|_| scope.spawn(race)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    assert_eq!((count(Outcome::New), count(Outcome::AlreadyThere)), (1, INSTALLERS - 1));
    assert_eq!(fs::read_dir(bench.home.tentacles()).unwrap().count(), 1);
}

fn mark_all(bench: &Bench) {
    package::prepare_home(&bench.home).unwrap();
    let (home, version) = (&bench.home, v("1.0"));
    fs::write(home.proven(&version), "").unwrap();
    fs::write(home.rejected(&version), "crashed").unwrap();
    fs::write(home.withdrawn(&version), "").unwrap();
    fs::write(home.launches(&version), "...").unwrap();
    fs::write(home.rejected(&v("2.0")), "crashed").unwrap();
}

#[test]
fn a_command_clears_the_verdicts_on_its_version_but_never_proven() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    for outcome in [Outcome::New, Outcome::AlreadyThere] {
        mark_all(&bench);
        let staged = bench.stage(&package).unwrap();
        assert!(bench.home.rejected(&v("1.0")).exists(), "staging alone clears nothing");
        assert_eq!(staged.arm(Authority::Commanded).unwrap().outcome, outcome);
        let left: Vec<_> = bench.tree().into_iter().filter(|path| path.starts_with("supervisor/")).collect();
        assert_eq!(left, ["supervisor/1.0.0.proven", "supervisor/2.0.0.rejected"]);
    }
}

#[test]
fn a_folder_that_is_named_like_a_verdict_goes_if_it_is_empty_and_is_told_if_it_is_not() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    package::prepare_home(&bench.home).unwrap();
    let marks = [bench.home.rejected(&v("1.0")), bench.home.withdrawn(&v("1.0")), bench.home.launches(&v("1.0"))];
    for mark in &marks {
        fs::create_dir(mark).unwrap();
    }
    assert_eq!(install(&bench, &package).unwrap(), Outcome::New);
    assert!(marks.iter().all(|mark| !mark.exists()));

    fs::create_dir_all(marks[0].join("notes")).unwrap();
    let error = install(&bench, &package).unwrap_err();
    let said = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(said.contains("1.0.0.rejected") && said.contains("move it away"), "{said}");
    assert!(marks[0].join("notes").is_dir());
}

#[test]
fn the_bundled_package_is_not_armed_where_a_verdict_exists() {
    let marks: [fn(&Home) -> std::path::PathBuf; 3] =
        [|home| home.rejected(&v("1.0")), |home| home.withdrawn(&v("1.0")), |home| home.launches(&v("1.0"))];
    for mark in marks {
        let bench = Bench::new();
        let package = bench.tentacle("1.0.0", "a");
        let staged = bench.stage(&package).unwrap();
        fs::write(mark(&bench.home), "").unwrap();
        let before_arming = bench.home.installed_tentacles().unwrap();
        assert!(matches!(staged.arm(Authority::Bundled), Err(InstallError::Verdict { .. })));
        assert_eq!(bench.home.installed_tentacles().unwrap(), before_arming);
        let outcome = install_tentacle_bundle(&bench.home, &package).unwrap();
        assert!(matches!(outcome, BundleOutcome::Marked { .. }), "{outcome:?}");
        assert!(mark(&bench.home).exists(), "and nothing was cleared");
        assert_eq!(fs::read_dir(bench.home.tentacles()).unwrap().count(), 0);
    }
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    fs::write(bench.home.proven(&v("1.0")), "").unwrap();
    let staged = bench.stage(&bench.tentacle("1.0.0", "a")).unwrap();
    assert_eq!(staged.arm(Authority::Bundled).unwrap().outcome, Outcome::New, "proven is no verdict against it");
}

#[test]
fn the_bundled_package_is_installed_only_if_it_is_newer_than_everything() {
    let bench = Bench::new();
    let bundle = |version: &str| install_tentacle_bundle(&bench.home, &bench.tentacle(version, "a")).unwrap();
    assert!(matches!(bundle("2.0.0"), BundleOutcome::Installed(_)), "nothing was installed");
    for (version, newer) in [("1.0.0", false), ("2.0.0", false), ("2.0.0-rc", false), ("2.0.1-rc", true)] {
        let is_newer = matches!(bundle(version), BundleOutcome::Installed(_));
        assert_eq!(is_newer, newer, "{version}");
    }
}

#[test]
fn the_bundle_may_be_the_folder_of_the_one_package() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    let folder = package.parent().unwrap();
    fs::write(folder.join("README.txt"), "").unwrap();
    assert!(matches!(install_tentacle_bundle(&bench.home, folder).unwrap(), BundleOutcome::Installed(_)));
    bench.tentacle("1.1.0", "a");
    assert!(install_tentacle_bundle(&bench.home, folder).is_err(), "two packages: nobody knows which is meant");
    let empty = tempfile::tempdir().unwrap();
    assert!(install_tentacle_bundle(&bench.home, empty.path()).is_err());
}

#[test]
fn only_a_tentacle_for_this_machine_can_become_one() {
    let bench = Bench::new();
    let other = if package::current_runtime() == "linux-arm64" { "linux-x64" } else { "linux-arm64" };
    let program = bench.file("program", "#!/bin/sh\n");
    let foreign = package::pack_tentacle(other, &v("1.0"), &program, &bench.path("")).unwrap();
    let own = format!("Octopus.Tentacle.{}", package::current_runtime());
    let table = [
        (foreign, "is made for"),
        (bench.package("Acme.Web", "1.0.0", &[("tentacle", "#!/bin/sh\n")]), "is not a Tentacle package"),
        (bench.package(&own, "1.0.0", &[("bin/tentacle", "#!/bin/sh\n")]), "has no program \"tentacle\""),
        (bench.package(&own, "1.0.1", &[("tentacle", "")]), "has no program \"tentacle\""),
    ];
    for (package, sentence) in table {
        let error = bench.stage(&package).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
        assert_eq!(bench.tree(), [""; 0], "{sentence}");
    }
}

#[test]
fn bytes_other_than_the_expected_are_refused() {
    let bench = Bench::new();
    let package = bench.tentacle("1.0.0", "a");
    let (sha256, size) = package::sha256_file(&package).unwrap();
    let verified = package::verify(&package, Some(sha256), &Limits::default()).unwrap();
    assert_eq!((verified.sha256(), verified.size(), verified.version()), (sha256, size, &v("1.0")));
    let error = package::verify(&package, Some(Sha256([0; 32])), &Limits::default()).unwrap_err();
    assert!(matches!(error, PackageError::Digest { actual, .. } if actual == sha256), "{error}");
}

#[test]
fn what_was_verified_is_unpacked_though_the_file_was_replaced() {
    let bench = Bench::new();
    let (package, other) = (bench.tentacle("1.0.0", "a"), bench.tentacle("1.0.0", "b"));
    let verified = verify(&package).unwrap();
    fs::rename(other, package).unwrap();
    stage_tentacle(&bench.home, verified).unwrap().arm(Authority::Commanded).unwrap();
    assert!(fs::read_to_string(bench.home.tentacle_program(&v("1.0"))).unwrap().contains("# a"));
}

#[test]
fn an_ordinary_package_is_installed_again_beside_itself() {
    let bench = Bench::new();
    let files =
        [("Deploy.sh", "#!/bin/bash\n"), ("bin/app", "\x7fELF"), ("sub dir/[é]+%.txt", "x"), ("web.config", "")];
    let package = bench.package("Acme.Web", "1.0", &files);
    for name in ["1.0.0", "1.0.0_1", "1.0.0_2"] {
        let installed = install_application(&bench.home, &production(), verify(&package).unwrap()).unwrap();
        assert_eq!(installed.folder, bench.home.path().join("Applications/Production/Acme.Web").join(name));
        assert_eq!(installed.outcome, Outcome::New);
        for (file, text) in files {
            assert_eq!(fs::read_to_string(installed.folder.join(file)).unwrap(), text, "{file}");
            let runs = file == "Deploy.sh" || file == "bin/app";
            assert_eq!(mode(&installed.folder.join(file)), if runs { 0o755 } else { 0o644 }, "{file}");
        }
        let manifest = Manifest::read(&installed.folder).unwrap();
        manifest.verify(&installed.folder).unwrap();
        let mut paths: Vec<_> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["Deploy.sh", "bin/app", "sub dir/[é]+%.txt", "web.config"]);
        assert_eq!(find_scripts(&installed.folder, &|_| true).unwrap().len(), 1);
        assert_eq!(fs::read_dir(&installed.folder).unwrap().count(), 5, "no part of the package format is installed");
    }
}

#[test]
fn many_deployments_of_one_package_each_get_a_folder() {
    const DEPLOYMENTS: usize = 6;
    let bench = Bench::new();
    let package = bench.package("Acme.Web", "1.0", &[("a", "a")]);
    let deploy = || install_application(&bench.home, &production(), verify(&package).unwrap()).unwrap().folder;
    let folders: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..DEPLOYMENTS).map(|_| scope.spawn(deploy)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(folders.len(), DEPLOYMENTS);
    assert_eq!(fs::read_dir(bench.home.path().join("Applications/Production/Acme.Web")).unwrap().count(), DEPLOYMENTS);
}

#[test]
fn the_sweep_removes_what_is_old_and_unused() {
    let bench = Bench::new();
    let used = bench.stage(&bench.tentacle("1.0.0", "a")).unwrap();
    let left = bench.home.tentacles().join(".incoming-1.0.0-dead");
    let deployed = bench.home.path().join("Applications/Production/Acme.Web/.incoming-1.0.0-dead");
    let kept = bench.home.path().join("Applications/Production/Acme.Web/1.0.0");
    for folder in [&left, &deployed, &kept] {
        fs::create_dir_all(folder.join("sub")).unwrap();
    }
    assert!(sweep_incoming(&bench.home, Duration::from_secs(60)).is_empty(), "all are young");
    let mut swept = sweep_incoming(&bench.home, Duration::ZERO);
    swept.sort();
    assert_eq!(swept, [left, deployed]);
    assert!(kept.exists());
    assert_eq!(used.arm(Authority::Commanded).unwrap().outcome, Outcome::New, "what is in use was left alone");
    assert!(sweep_incoming(&Home::new("/nonexistent"), Duration::ZERO).is_empty());
}

#[test]
fn clean_up_keeps_the_running_the_newest_proven_and_those_on_probation() {
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    let home = &bench.home;
    for minor in 0..10 {
        fs::create_dir(home.tentacle(&v(&format!("1.{minor}")))).unwrap();
    }
    for proven in ["1.1", "1.2", "1.3", "1.4", "1.5"] {
        fs::write(home.proven(&v(proven)), "").unwrap();
    }
    for rejected in ["1.5", "1.6", "1.7"] {
        fs::write(home.rejected(&v(rejected)), "crashed").unwrap();
    }
    fs::write(home.withdrawn(&v("1.8")), "").unwrap();
    // 1.0 runs; 1.3 to 1.5 are the newest proven ones, though 1.5 was rejected too; 1.9 is on probation.
    let deleted = retain_tentacles(home, &v("1.0")).unwrap();
    assert_eq!(deleted, ["1.8", "1.7", "1.6", "1.2", "1.1"].map(v));
    assert_eq!(home.installed_tentacles().unwrap(), ["1.9", "1.5", "1.4", "1.3", "1.0"].map(v));
    assert_eq!(fs::read_dir(home.tentacles()).unwrap().count(), 5);
    assert!(home.rejected(&v("1.7")).exists(), "a verdict outlives its version");
    assert_eq!(retain_tentacles(home, &v("1.0")).unwrap(), []);
}
