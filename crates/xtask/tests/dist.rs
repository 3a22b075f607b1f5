//! What `cargo xtask dist` packs, made of stand-ins for the programs: what is in the archives and the `.deb` packages, what
//! these say of themselves, and the units. Where the tools are not installed the tests say so and pass over; with
//! `OCTOPUS_DIST_TOOLS=required` they fail instead.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::Version;
use tempfile::TempDir;
use xtask::dist::{Arch, Built, Product, StaticPrograms, assemble, missing_to_pack};

/// A pre-release, because its names are the hardest.
const VERSION: &str = "2026.4.1-rc.2";

/// True where something is missing that the test cannot do without, and nobody demands it.
fn passed_over(missing: &[String]) -> bool {
    if missing.is_empty() {
        return false;
    }
    let required = std::env::var_os("OCTOPUS_DIST_TOOLS").is_some_and(|wish| wish == "required");
    assert!(!required, "OCTOPUS_DIST_TOOLS demands these: {}", missing.join("; "));
    eprintln!("passed over, for want of {}", missing.join("; "));
    true
}

/// A folder with `out`, which holds everything that is delivered, of programs that say their own name.
fn delivered() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = |kind: Arch, name: &str| {
        let path = folder.path().join(format!("{name}-{}", kind.runtime()));
        fs::write(&path, format!("#!/bin/sh\necho {name} {}\n", kind.runtime())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let programs = |kind| StaticPrograms {
        server: program(kind, "octopus-server"),
        suction_cup: program(kind, "suction-cup"),
        install_package: program(kind, "install-package"),
    };
    let built = Built {
        tentacles: Arch::ALL.map(|kind| (kind, program(kind, "tentacle"))).into(),
        programs: Arch::ALL.map(|kind| (kind, programs(kind))).into(),
    };
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let written: BTreeSet<PathBuf> = assemble(&built, &version(), &out).unwrap().into_iter().collect();
    let found = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(written, found, "what was written is told, and nothing else is left");
    folder
}

fn version() -> Version {
    VERSION.parse().unwrap()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// What is in a folder, with `x` before the files that can be run and `l` before links.
fn files(folder: &Path) -> BTreeSet<String> {
    let list = r"find . -type f -perm /111 -printf 'x %P\n' -o -type f -printf '- %P\n' -o -type l -printf 'l %P %l\n'";
    output(Command::new("sh").args(["-c", list]).current_dir(folder)).lines().map(str::to_owned).collect()
}

/// The same as [`files`], of names in which `V` stands for the version.
fn expected(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| name.replace('V', VERSION)).collect()
}

/// What an archive holds beside the packages in its bundle.
fn expected_in_archive(product: Product) -> BTreeSet<String> {
    match product {
        Product::Machine => {
            expected(&["x suction-cup", "x install-package", "- octopus-tentacle.service", "- README.md", "- LICENSE"])
        }
        Product::Portal => expected(&["x octopus-server", "- octopus-server.service", "- README.md", "- LICENSE"]),
    }
}

fn expected_in_deb(product: Product) -> BTreeSet<String> {
    match product {
        Product::Machine => expected(&[
            "x usr/lib/octopus/tentacle/suction-cup",
            "x usr/lib/octopus/tentacle/install-package",
            "l usr/bin/suction-cup ../lib/octopus/tentacle/suction-cup",
            "- usr/lib/systemd/system/octopus-tentacle.service",
            "- usr/share/doc/octopus-tentacle/README.md",
            "- usr/share/doc/octopus-tentacle/copyright",
            "- etc/needrestart/conf.d/octopus-tentacle.conf",
        ]),
        Product::Portal => expected(&[
            "x usr/lib/octopus/server/octopus-server",
            "l usr/bin/octopus-server ../lib/octopus/server/octopus-server",
            "- usr/lib/systemd/system/octopus-server.service",
            "- usr/share/doc/octopus-server/README.md",
            "- usr/share/doc/octopus-server/copyright",
            "- etc/default/octopus-server",
        ]),
    }
}

/// The packages in a bundle, each after `prefix`: a machine's own, or for a portal all.
fn bundled(product: Product, kind: Arch, prefix: &str) -> BTreeSet<String> {
    let all = Arch::ALL.into_iter().filter(|of| product == Product::Portal || *of == kind);
    all.map(|of| format!("- {prefix}bundle/Octopus.Tentacle.{}.{VERSION}.nupkg", of.runtime())).collect()
}

#[test]
fn archives_hold_a_machines_and_a_portals_files_for_each_kind_of_computer() {
    if passed_over(&missing_to_pack()) {
        return;
    }
    let folder = delivered();
    for kind in Arch::ALL {
        for product in Product::ALL {
            let name = product.archive(kind, &version());
            let archive = folder.path().join(format!("out/{name}.tar.gz"));
            output(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()));
            let expected = &expected_in_archive(product) | &bundled(product, kind, "");
            assert_eq!(files(&folder.path().join(&name)), expected, "{name}");
        }
        let machine = folder.path().join(format!("octopus-tentacle-{VERSION}-{}", kind.runtime()));
        let said = output(&mut Command::new(machine.join("suction-cup")));
        assert_eq!(said, format!("suction-cup {}\n", kind.runtime()));
    }
    output(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(folder.path().join("out")));
}

#[test]
fn packages_say_what_they_are_and_put_every_file_in_its_place() {
    if passed_over(&missing_to_pack()) {
        return;
    }
    let folder = delivered();
    for (kind, debian) in [(Arch::X64, "amd64"), (Arch::Arm64, "arm64")] {
        for product in Product::ALL {
            let name = format!("{}_2026.4.1~rc.2_{debian}", product.name());
            let (deb, unpacked) = (folder.path().join(format!("out/{name}.deb")), folder.path().join(&name));
            output(Command::new("dpkg-deb").arg("--raw-extract").arg(&deb).arg(&unpacked));
            let control = fs::read_to_string(unpacked.join("DEBIAN/control")).unwrap();
            for line in [
                format!("Package: {}", product.name()),
                "Version: 2026.4.1~rc.2".to_owned(),
                format!("Architecture: {debian}"),
            ] {
                assert!(control.lines().any(|found| found == line), "{line} is not in {control}");
            }
            for script in ["postinst", "prerm", "postrm"] {
                let path = unpacked.join("DEBIAN").join(script);
                output(Command::new("sh").arg("-n").arg(&path));
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains("systemd") && !text.contains("#DEBHELPER#"), "{script}: {text}");
            }
            fs::remove_dir_all(unpacked.join("DEBIAN")).unwrap();
            let library = format!("usr/lib/octopus/{}/", product.name().trim_start_matches("octopus-"));
            let expected = &expected_in_deb(product) | &bundled(product, kind, &library);
            assert_eq!(files(&unpacked), expected, "{name}");
        }
    }
}

#[test]
fn a_package_upgrade_restarts_the_portal_and_leaves_a_running_tentacle_alone() {
    if passed_over(&missing_to_pack()) {
        return;
    }
    let folder = delivered();
    let script = |product: Product, name: &str| {
        let deb = folder.path().join("out").join(product.deb(Arch::X64, &version()));
        output(Command::new("dpkg-deb").arg("--info").arg(deb).arg(name))
    };
    for (product, restarts) in [(Product::Machine, false), (Product::Portal, true)] {
        assert_eq!(script(product, "postinst").contains("restart\n"), restarts, "{}", script(product, "postinst"));
        let before = script(product, "prerm");
        assert!(before.contains("\"$1\" = remove"), "it is stopped when it is removed, and only then: {before}");
    }
}

#[test]
fn units_are_such_that_systemd_has_nothing_to_say() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let missing = version.is_err().then(|| "systemd-analyze: apt-get install systemd".to_owned());
    if passed_over(&Vec::from_iter(missing)) {
        return;
    }
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    for (unit, program) in [
        ("machine/octopus-tentacle.service", "usr/lib/octopus/tentacle/suction-cup"),
        ("portal/octopus-server.service", "usr/lib/octopus/server/octopus-server"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let (program, units) = (root.path().join(program), root.path().join("usr/lib/systemd/system"));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::create_dir_all(&units).unwrap();
        fs::copy("/bin/true", program).unwrap();
        let verify = |text: &str| {
            let path = units.join(Path::new(unit).file_name().unwrap());
            fs::write(&path, text).unwrap();
            let mut verify = Command::new("systemd-analyze");
            // Of the units that it needs, which are not there, nothing is to be said.
            verify.args(["verify", "--man=no", "--recursive-errors=no", "--root"]).arg(root.path()).arg(path);
            let output = verify.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { said } else { format!("{}: {said}", output.status) }
        };
        let text = fs::read_to_string(packaging.join(unit)).unwrap();
        assert_eq!(verify(&text), "", "{unit}");
        let wrong = text.replace("[Service]", "[Service]\nKilMode=process");
        assert!(verify(&wrong).contains("KilMode"), "a word that is not known is told");
    }
}

#[test]
fn the_portals_unit_never_gives_up_and_may_do_no_more_than_it_needs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/portal/octopus-server.service");
    let text = fs::read_to_string(path).unwrap();
    for line in [
        "Restart=always",
        "StartLimitIntervalSec=0",
        "User=octopus-server",
        "UMask=0077",
        "StateDirectoryMode=0700",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_machines_unit_never_gives_up_and_waits_for_longer_than_suction_cup() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/machine/octopus-tentacle.service");
    let text = fs::read_to_string(path).unwrap();
    for line in
        ["Restart=always", "StartLimitIntervalSec=0", "KillMode=process", "TimeoutStopSec=60", "OOMScoreAdjust=-900"]
    {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}
