//! The program `install-package`, run as a person and as Suction Cup run it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Bench, add, archive, v};

/// Runs the program. Returns its exit code, and what it wrote to stdout and stderr.
fn run(arguments: &[&str], home_variable: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_install-package"));
    command.args(arguments).env_remove(contract::env::TENTACLE_HOME);
    if let Some(home) = home_variable {
        command.env(contract::env::TENTACLE_HOME, home);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_person_installs_a_package_and_is_told_what_was_done() {
    let bench = Bench::new();
    let (home, package) = (bench.home.path(), bench.tentacle("1.0.0", "a"));
    package::prepare_home(&bench.home).unwrap();
    fs::write(bench.home.rejected(&v("1.0")), "crashed").unwrap();
    let arguments = ["--home", home.to_str().unwrap(), package.to_str().unwrap()];

    let (code, line, error) = run(&arguments, None);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(line, format!("installed 1.0.0 in {}\n", bench.home.tentacle(&v("1.0")).display()));
    assert!(!bench.home.rejected(&v("1.0")).exists(), "a person's word clears verdicts");

    let (code, line, _) = run(&[package.to_str().unwrap()], Some(home));
    assert_eq!(code, 0);
    assert!(line.starts_with("nothing to unpack") && line.lines().count() == 1, "{line}");
}

#[test]
fn the_bundle_is_installed_once_and_never_over_a_verdict() {
    let bench = Bench::new();
    let (home, package) = (bench.home.path(), bench.tentacle("1.0.0", "a"));
    let bundled = |package: &Path| run(&["--bundled", package.to_str().unwrap()], Some(home));
    assert!(bundled(&package).1.starts_with("installed 1.0.0"));
    let (code, line, _) = bundled(&package);
    assert_eq!((code, line.as_str()), (0, "nothing to do: 1.0.0 is installed, and the bundled 1.0.0 is not newer\n"));

    fs::write(bench.home.rejected(&v("2.0")), "crashed").unwrap();
    let (code, line, _) = bundled(&bench.tentacle("2.0.0", "b"));
    assert_eq!((code, line.as_str()), (0, "nothing to do: the bundled 2.0.0 bears the mark .rejected\n"));
    assert_eq!(bench.home.installed_tentacles().unwrap(), [v("1.0")]);
}

#[test]
fn failures_give_the_reason_with_its_cause_and_exit_1_and_usage_exits_2() {
    let bench = Bench::new();
    let (code, line, error) = run(&["--home", "/nonexistent", "/nonexistent/a.nupkg"], None);
    assert_eq!((code, line.as_str()), (1, ""));
    assert!(error.contains("could not read the package /nonexistent/a.nupkg: No such file"), "{error}");
    let garbage = bench.file("a.nupkg", "garbage");
    assert_eq!(run(&[garbage.to_str().unwrap()], Some(bench.home.path())).0, 1);
    assert_eq!(bench.tree(), [""; 0]);
    assert_eq!(run(&[], None).0, 2);
    assert_eq!(run(&["--what", "a"], None).0, 2);
}

#[test]
fn a_disk_that_takes_no_more_bytes_leaves_nothing() {
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    let before = bench.tree();
    let program = bench.file("program", format!("#!/bin/sh\n{}", "x".repeat(100_000)));
    let package = package::pack_tentacle(package::current_runtime(), &v("1.0"), &program, &bench.path("")).unwrap();
    // A limit on the size of files stands for a full disk: writes beyond it fail while the home is already in use.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_install-package"), "--home"])
        .args([bench.home.path(), &package])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("could not write the file") && error.contains("tentacle"), "{error}");
    assert_eq!(bench.tree(), before);
}

#[test]
fn a_package_of_more_files_than_a_process_may_have_open_is_installed_whole() {
    let bench = Bench::new();
    let bytes = archive(|writer| {
        for number in 0..300 {
            add(writer, &format!("content/{number}"), number.to_string().as_bytes());
        }
    });
    let package = bench.file("many.nupkg", bytes);
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_install-package"), "--home"])
        .args([bench.home.path(), &package])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for number in 0..300 {
        let path = bench.home.tentacle(&v("1.0.0")).join(format!("content/{number}"));
        assert_eq!(fs::read_to_string(path).unwrap(), number.to_string());
    }
}
