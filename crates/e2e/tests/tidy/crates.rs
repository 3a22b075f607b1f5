//! Who may depend on whom, and on what of others.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use toml::{Table, Value};

use crate::source::{SOURCES, root};

/// Each crate, and those of ours that it may depend on, for tests and builds as well.
const MAY_DEPEND: [(&str, &[&str]); 10] = [
    ("contract", &[]),
    ("package", &["contract"]),
    ("octopus-proto", &["contract"]),
    ("suction-cup", &["contract"]),
    ("tentacle", &["contract", "package", "octopus-proto"]),
    ("octopus-server", &["contract", "package", "octopus-proto"]),
    ("xtask", &["contract", "package", "octopus-proto"]),
    ("e2e", &["contract", "package", "octopus-proto", "xtask"]),
    ("matrix", &["contract", "package", "octopus-proto", "xtask"]),
    ("fleet", &["contract", "package", "octopus-proto", "tentacle", "octopus-server", "xtask"]),
];

/// Suction Cup stays on machines for ever, so it is made of little.
const SUPERVISOR_DIRECT_MAX: usize = 3;

/// With itself.
const SUPERVISOR_TREE_MAX: usize = 12;

/// Ways to do TLS. There is one.
const TLS_PROVIDER: &str = "aws-lc-rs";
const OTHER_TLS: [&str; 10] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "s2n-tls",
    "mbedtls",
    "rustls-rustcrypto",
    "rustls-graviola",
];

/// The manifests of all members by their names.
fn manifests() -> BTreeMap<String, Table> {
    let manifests = SOURCES.iter().filter(|source| source.path.ends_with("/Cargo.toml"));
    let manifests = manifests.map(|source| {
        let manifest: Table = source.text.parse().unwrap_or_else(|error| panic!("{}: {error}", source.path));
        (manifest["package"]["name"].as_str().expect("a package has a name").to_owned(), manifest)
    });
    manifests.collect()
}

/// Every dependency of a manifest: for the program, its tests and its build, on every platform.
fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = platforms.filter_map(|(_, table)| table.as_table()).chain([manifest]);
    let of_kinds = tables.flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()));
    of_kinds.flatten().collect()
}

fn forbidden_directions(name: &str, manifest: &Table) -> Vec<String> {
    let Some((_, allowed)) = MAY_DEPEND.iter().find(|(of, _)| *of == name) else {
        return vec![format!("{name} is new: say in tidy/crates.rs and ARCHITECTURE.md on whom it may depend")];
    };
    let ours = dependencies(manifest).into_iter().filter(|(on, _)| MAY_DEPEND.iter().any(|(of, _)| of == on));
    let forbidden = ours.filter(|(on, _)| !allowed.contains(&on.as_str()));
    forbidden.map(|(on, _)| format!("{name} must not depend on {on}: see \"Who may depend on whom\"")).collect()
}

fn versions_of_its_own(name: &str, manifest: &Table) -> Vec<String> {
    let own = dependencies(manifest).into_iter().filter(|(_, value)| value.get("workspace").is_none());
    own.map(|(on, _)| format!("{name}: move the version of {on} to [workspace.dependencies]")).collect()
}

/// The names of the crates that a program is built of, as cargo resolves them for this platform.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"]).args(arguments);
    let output = command.current_dir(root()).output().expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn second_tls(tree: &BTreeSet<String>) -> Vec<&String> {
    tree.iter().filter(|name| OTHER_TLS.contains(&name.as_str())).collect()
}

#[test]
fn crates_depend_in_the_drawn_directions() {
    let manifests = manifests();
    assert_eq!(manifests.len(), MAY_DEPEND.len(), "the table in tidy/crates.rs has a row for each crate");
    let faults: Vec<_> = manifests.iter().flat_map(|(name, manifest)| forbidden_directions(name, manifest)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let bad = |text: &str| text.parse::<Table>().unwrap();
    let server = bad("[dev-dependencies]\ntentacle.workspace = true\nserde.workspace = true");
    assert_eq!(forbidden_directions("octopus-server", &server).len(), 1);
    let agent = bad("[target.'cfg(unix)'.dependencies]\noctopus-server.workspace = true");
    assert_eq!(forbidden_directions("tentacle", &agent).len(), 1);
    let supervisor = bad("[dependencies]\ncontract.workspace = true\npackage.workspace = true");
    assert_eq!(forbidden_directions("suction-cup", &supervisor).len(), 1);
    assert_eq!(forbidden_directions("e2e", &bad("[dependencies]\nsuction-cup.workspace = true")).len(), 1);
    assert_eq!(forbidden_directions("another", &bad("")).len(), 1);
}

#[test]
fn versions_of_dependencies_stand_in_one_place() {
    let manifests = manifests();
    let faults: Vec<_> = manifests.iter().flat_map(|(name, manifest)| versions_of_its_own(name, manifest)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let bad = "[dependencies]\na = \"1\"\nb = { version = \"1\" }\nc.workspace = true\n[build-dependencies]\nd = \"2\"";
    assert_eq!(versions_of_its_own("x", &bad.parse().unwrap()).len(), 3);
}

#[test]
fn suction_cup_is_made_of_little() {
    let manifest = &manifests()["suction-cup"];
    let direct = manifest["dependencies"].as_table().unwrap().len();
    assert!(direct <= SUPERVISOR_DIRECT_MAX, "Suction Cup has {direct} direct dependencies: at most 3");
    let tree = tree(&["--package", "suction-cup", "--edges", "normal"]);
    assert!(tree.len() <= SUPERVISOR_TREE_MAX, "Suction Cup is made of {} crates: at most 12: {tree:?}", tree.len());
    assert!(tree.contains("contract") && !tree.contains("package"), "{tree:?}");
}

#[test]
fn there_is_one_way_to_do_tls() {
    let tree = tree(&["--workspace", "--edges", "normal,build,dev"]);
    let second = second_tls(&tree);
    assert!(second.is_empty(), "TLS is {TLS_PROVIDER}'s alone; `cargo tree --invert NAME` says who wants {second:?}");
    assert!(tree.contains(TLS_PROVIDER), "the tree is not whole: {tree:?}");

    assert_eq!(second_tls(&["ring".to_owned(), "rustls".to_owned()].into()), ["ring"]);
}
