//! Packages that this crate writes: complete, the same every time, and never one that it would refuse.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Bench, v};
use contract::PackageId;
use package::{Limits, PackRequest, PackageError, PackageFile, Refusal};

#[test]
fn a_package_is_read_as_it_was_packed() {
    let bench = Bench::new();
    let script = bench.file("script", "echo");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let (id, version): (PackageId, _) = ("Acme.Web".parse().unwrap(), v("1.2-RC"));
    let files = [(script.clone(), "z.sh".to_owned()), (bench.file("data", "x"), "a b/é+%.txt".to_owned())];
    let request =
        PackRequest { id: &id, version: &version, description: "a < b & c", authors: "Ann, Bob", files: &files };
    let path = package::pack(&request, &bench.path("")).unwrap();
    assert_eq!(path, bench.path("Acme.Web.1.2.0-RC.nupkg"));

    let package = PackageFile::open(&path, &Limits::default()).unwrap();
    let nuspec = package.nuspec();
    assert_eq!((&nuspec.id, &nuspec.version), (&id, &version));
    assert_eq!(nuspec.description.as_deref(), Some("a < b & c"));
    assert_eq!(nuspec.authors.as_deref(), Some("Ann, Bob"));
    let files: Vec<_> = package.files().iter().map(|file| (file.path.as_str(), file.size, file.executable)).collect();
    assert_eq!(files, [("a b/é+%.txt", 1, false), ("z.sh", 4, true)]);
}

#[test]
fn the_parts_of_the_package_format_are_there_and_agree() {
    let bench = Bench::new();
    let path = bench.package("Acme.Web", "1.0", &[("tentacle", ""), ("web.CONFIG", ""), ("bin/[a]", "")]);
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut parts = BTreeMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        parts.insert(entry.name().unwrap().into_owned(), text);
    }
    let properties = parts.keys().find(|name| name.ends_with(".psmdcp")).unwrap();
    assert!(properties.starts_with("package/services/metadata/core-properties/"));
    let relations = &parts["_rels/.rels"];
    assert!(relations.contains("Target=\"/Acme.Web.nuspec\""), "{relations}");
    assert!(relations.contains(&format!("Target=\"/{properties}\"")), "{relations}");
    let types = &parts["[Content_Types].xml"];
    for part in ["Extension=\"config\"", "Extension=\"nuspec\"", "PartName=\"/tentacle\"", "PartName=\"/bin/%5Ba%5D\""]
    {
        assert!(types.contains(part), "{part} in {types}");
    }
    assert!(parts.contains_key("bin/%5Ba%5D"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bench = Bench::new();
    let pack = |folder: &str, reverse: bool| {
        let out = bench.path(folder);
        fs::create_dir(&out).unwrap();
        let mut files = vec![
            (bench.file(&format!("{folder}-a"), "a".repeat(100_000)), "a".to_owned()),
            (bench.file(&format!("{folder}-b"), "b"), "b".to_owned()),
        ];
        if reverse {
            files.reverse();
        }
        let id = "Acme.Web".parse().unwrap();
        let request = PackRequest { id: &id, version: &v("1.0"), description: "d", authors: "a", files: &files };
        fs::read(package::pack(&request, &out).unwrap()).unwrap()
    };
    assert_eq!(pack("one", false), pack("two", true));
}

#[test]
fn a_package_that_would_be_refused_is_not_written() {
    let bench = Bench::new();
    let source = bench.file("source", "");
    let out = bench.path("out");
    fs::create_dir(&out).unwrap();
    let id = "Acme.Web".parse().unwrap();
    for (name, other, refusal) in [
        ("../x", "y", Refusal::Traversal),
        ("a\\b", "y", Refusal::Backslash),
        ("A", "a", Refusal::Duplicate),
        ("a", "a/b", Refusal::FileAndFolder),
    ] {
        let files = [(source.clone(), name.to_owned()), (source.clone(), other.to_owned())];
        let request = PackRequest { id: &id, version: &v("1.0"), description: "d", authors: "a", files: &files };
        let error = package::pack(&request, &out).unwrap_err();
        assert!(matches!(&error, PackageError::Refused { why, .. } if *why == refusal), "{name}: {error}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
    let missing = [(bench.path("missing"), "a".to_owned())];
    let request = PackRequest { id: &id, version: &v("1.0"), description: "d", authors: "a", files: &missing };
    assert!(matches!(package::pack(&request, &out), Err(PackageError::Source { .. })));
}

#[test]
fn a_tentacle_package_is_named_by_its_runtime_and_version() {
    let bench = Bench::new();
    let program = bench.file("program", "\x7fELF");
    for (runtime, name) in [("linux-x64", "tentacle"), ("win-x64", "tentacle.exe")] {
        let path = package::pack_tentacle(runtime, &v("2026.4.1"), &program, &bench.path("")).unwrap();
        assert_eq!(path, bench.path(&format!("Octopus.Tentacle.{runtime}.2026.4.1.nupkg")));
        assert_eq!(PackageFile::open(&path, &Limits::default()).unwrap().files()[0].path, name);
    }
    assert!(package::pack_tentacle("../x", &v("1"), &program, &bench.path("")).is_err());
}
