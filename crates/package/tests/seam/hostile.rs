//! Archives made to harm: each is refused with the name of the entry, and the home stays as it was.

use std::error::Error as _;
use std::io::{Cursor, Write as _};
use std::path::Path;

use package::{InstallError, Limits, PackageError, Refusal};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::common::{Bench, add, archive, nuspec};

type Writer = ZipWriter<Cursor<Vec<u8>>>;

/// Stages an archive in a new home; whatever happens, nothing may be left in the home.
fn refuse(bytes: &[u8], limits: &Limits) -> PackageError {
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    let before = bench.tree();
    let path = bench.file("hostile.nupkg", bytes);
    let staged = package::verify(&path, None, limits)
        .map_err(InstallError::from)
        .and_then(|package| package::stage_tentacle(&bench.home, package));
    assert_eq!(bench.tree(), before);
    match staged {
        Err(InstallError::Package(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn assert_refused(bytes: &[u8], limits: &Limits, name: &str, refusal: &Refusal) {
    let error = refuse(bytes, limits);
    assert!(error.to_string().contains(&format!("{name:?}")), "{error} names {name:?}");
    match error {
        PackageError::Refused { why, .. } => assert_eq!(why, *refusal, "{name}"),
        other => panic!("{name}: {other}"),
    }
}

/// Where the local and the central header of an entry begin.
fn headers(bytes: &[u8], name: &str) -> (usize, usize) {
    let find = |signature: &[u8], name_at: usize| {
        let is_header =
            |at: &usize| bytes[*at..].starts_with(signature) && bytes[at + name_at..].starts_with(name.as_bytes());
        (0..bytes.len() - name_at).find(is_header).unwrap()
    };
    (find(b"PK\x03\x04", 30), find(b"PK\x01\x02", 46))
}

/// Overwrites a field of both headers of an entry. Offsets are those of the local header; the central one has two
/// bytes more before them.
fn patch(bytes: &mut [u8], name: &str, local_at: usize, value: &[u8]) {
    let (local, central) = headers(bytes, name);
    bytes[local + local_at..][..value.len()].copy_from_slice(value);
    bytes[central + local_at + 2..][..value.len()].copy_from_slice(value);
}

const FLAGS: usize = 6;
const METHOD: usize = 8;
const PACKED_SIZE: usize = 18;
const SIZE: usize = 22;

#[test]
fn names_that_are_dangerous_anywhere_are_refused() {
    let table = [
        ("../x", Refusal::Traversal),
        ("a/../../x", Refusal::Traversal),
        ("%2e%2e/x", Refusal::Traversal),
        ("..\\x", Refusal::Backslash),
        ("/abs", Refusal::Absolute),
        ("C:\\x", Refusal::Backslash),
        ("C:x", Refusal::Colon),
        ("a:b", Refusal::Colon),
        ("con", Refusal::Device),
        ("sub/aux.txt", Refusal::Device),
        ("nul", Refusal::Device),
        ("com1", Refusal::Device),
        ("dot.", Refusal::TrailingDotOrSpace),
        ("space ", Refusal::TrailingDotOrSpace),
        ("a//b", Refusal::EmptyPart),
        ("bell\u{7}", Refusal::Control),
        ("Tentacle", Refusal::Duplicate),
        ("%74entacle", Refusal::Duplicate),
        ("tentacle/x", Refusal::FileAndFolder),
        (".octopus-package", Refusal::Reserved),
    ];
    for (name, refusal) in table {
        let bytes = archive(|writer| add(writer, name, b""));
        assert_refused(&bytes, &Limits::default(), name, &refusal);
    }
    let folder = archive(|writer| writer.add_directory("tentacle", SimpleFileOptions::default()).unwrap());
    assert_refused(&folder, &Limits::default(), "tentacle/", &Refusal::FileAndFolder);
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    for (first, second) in [("aa", "ab"), ("zz", "tentaclx")] {
        let mut bytes = archive(|writer| {
            add(writer, first, b"1");
            add(writer, second, b"2");
            add(writer, "last", b"3");
        });
        let twice = if first == "aa" { "aa" } else { "tentacle" };
        let (local, central) = headers(&bytes, second);
        bytes[local + 30..][..twice.len()].copy_from_slice(twice.as_bytes());
        bytes[central + 46..][..twice.len()].copy_from_slice(twice.as_bytes());
        assert_refused(&bytes, &Limits::default(), twice, &Refusal::Duplicate);
    }
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    let mut bytes = archive(|writer| add(writer, "caf_", b""));
    let (local, central) = headers(&bytes, "caf_");
    (bytes[local + 33], bytes[central + 49]) = (0xe9, 0xe9);
    assert_refused(&bytes, &Limits::default(), "caf\u{fffd}", &Refusal::NotUtf8);
}

#[test]
fn links_and_special_files_are_refused_whatever_the_system_that_made_them() {
    let modes = [0o120_777, 0o020_644, 0o060_644, 0o010_644, 0o140_644];
    for (mode, system) in modes.into_iter().flat_map(|mode| [(mode, 3), (mode, 0)]) {
        let mut bytes = archive(|writer| add(writer, "link", b"/etc"));
        let (_, central) = headers(&bytes, "link");
        bytes[central + 5] = system;
        bytes[central + 38..][..4].copy_from_slice(&(u32::to_le_bytes(mode << 16)));
        assert_refused(&bytes, &Limits::default(), "link", &Refusal::SpecialFile);
    }
    let bytes = archive(|writer| writer.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap());
    assert_refused(&bytes, &Limits::default(), "link", &Refusal::SpecialFile);
}

#[test]
fn what_is_both_a_file_and_a_folder_is_refused() {
    for (name, mode) in [("file", 0o040_755), ("folder/", 0o100_644)] {
        let mut bytes = archive(|writer| add(writer, name, b""));
        let (_, central) = headers(&bytes, name);
        bytes[central + 38..][..4].copy_from_slice(&(u32::to_le_bytes(mode << 16)));
        assert_refused(&bytes, &Limits::default(), name, &Refusal::Ambiguous);
    }
}

#[test]
fn encrypted_entries_and_other_compressions_are_refused() {
    let mut bytes = archive(|writer| add(writer, "secret", b"x"));
    patch(&mut bytes, "secret", FLAGS, &[1, 0]);
    assert_refused(&bytes, &Limits::default(), "secret", &Refusal::Encrypted);
    for method in [1_u16, 9, 12, 14, 93, 99] {
        let mut bytes = archive(|writer| add(writer, "odd", b"x"));
        patch(&mut bytes, "odd", METHOD, &method.to_le_bytes());
        assert_refused(&bytes, &Limits::default(), "odd", &Refusal::Compression);
    }
}

#[test]
fn bombs_are_refused_before_a_byte_is_unpacked() {
    let zeros = vec![0; 2 << 20];
    let limits = Limits::default();
    let bomb = archive(|writer| add(writer, "bomb", &zeros));
    assert_refused(&bomb, &limits, "bomb", &Refusal::Ratio { limit: limits.ratio });

    let limits = Limits { entry_bytes: 1000, ..Limits::default() };
    let large = archive(|writer| add(writer, "large", &[0; 1001]));
    assert_refused(&large, &limits, "large", &Refusal::TooLarge { size: 1001, limit: 1000 });

    let limits = Limits { unpacked_bytes: 1000, ..Limits::default() };
    let many = archive(|writer| (0..10).for_each(|i| add(writer, &i.to_string(), &[0; 100])));
    assert_refused(&many, &limits, "8", &Refusal::TotalTooLarge { limit: 1000 });

    let limits = Limits { entries: 5, ..Limits::default() };
    assert!(matches!(refuse(&many, &limits), PackageError::TooManyEntries { count: 12, limit: 5, .. }));
    let limits = Limits { package_bytes: 100, ..Limits::default() };
    assert!(matches!(refuse(&many, &limits), PackageError::TooLarge { limit: 100, .. }));
    let limits = Limits { nuspec_bytes: 10, ..Limits::default() };
    assert!(refuse(&many, &limits).to_string().contains("\"a.nuspec\""));
}

#[test]
fn an_entry_with_other_bytes_than_it_declares_is_refused() {
    let text = b"some text that is long enough to be cut";
    let with = |method| {
        let options = SimpleFileOptions::default().compression_method(method);
        archive(|writer: &mut Writer| {
            writer.start_file("liar", options).unwrap();
            writer.write_all(text).unwrap();
        })
    };
    let size = |bytes: &mut Vec<u8>, size: usize| patch(bytes, "liar", SIZE, &u32::to_le_bytes(size as u32));

    let mut more = with(CompressionMethod::Deflated);
    size(&mut more, text.len() - 1);
    let error = refuse(&more, &Limits::default());
    assert!(matches!(&error, PackageError::Damaged { entry, .. } if entry == "liar"), "{error}");
    let causes: Vec<_> =
        std::iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string).collect();
    assert!(causes.iter().filter(|cause| cause.contains("larger")).count() == 1, "it is said once: {causes:?}");

    let mut fewer = with(CompressionMethod::Deflated);
    size(&mut fewer, text.len() + 1);
    let (declared, actual) = (text.len() as u64 + 1, text.len() as u64);
    assert_refused(&fewer, &Limits::default(), "liar", &Refusal::WrongSize { declared, actual });

    let mut stored = with(CompressionMethod::Stored);
    size(&mut stored, text.len() + 1);
    assert_refused(&stored, &Limits::default(), "liar", &Refusal::WrongSize { declared, actual });

    let mut flipped = with(CompressionMethod::Stored);
    let at = flipped.windows(text.len()).position(|window| window == text).unwrap();
    flipped[at] ^= 1;
    let error = refuse(&flipped, &Limits::default());
    assert!(matches!(&error, PackageError::Damaged { entry, .. } if entry == "liar"), "{error}");
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut bytes = archive(|writer| {
        add(writer, "first", b"x");
        add(writer, "other", b"x");
    });
    let ((first, _), (_, other)) = (headers(&bytes, "first"), headers(&bytes, "other"));
    bytes[other + 42..][..4].copy_from_slice(&u32::to_le_bytes(first as u32));
    let error = refuse(&bytes, &Limits::default());
    assert!(matches!(&error, PackageError::Refused { why: Refusal::Overlap, .. }), "{error}");

    let mut bytes = archive(|writer| add(writer, "long", b"x"));
    patch(&mut bytes, "long", PACKED_SIZE, &u32::to_le_bytes(1_000_000));
    assert_refused(&bytes, &Limits::default(), "long", &Refusal::Overlap);
}

#[test]
fn an_entry_without_its_local_header_is_named() {
    let mut bytes = archive(|writer| add(writer, "lost", b"x"));
    let (local, _) = headers(&bytes, "lost");
    bytes[local] = 0;
    let error = refuse(&bytes, &Limits::default());
    assert!(matches!(&error, PackageError::Damaged { entry, .. } if entry == "lost"), "{error}");
}

#[test]
fn a_few_entries_that_need_many_folders_are_refused() {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let deep = |i: usize| format!("{i}/{}x", "y/".repeat(500));
    let bytes = archive(|writer| (0..2).for_each(|i| add(writer, &deep(i), b"")));
    let error = refuse(&bytes, &limits);
    assert!(matches!(error, PackageError::TooManyEntries { count: 1002, limit: 1000, .. }), "{error}");
}

#[test]
fn what_is_no_complete_zip_file_is_refused() {
    let whole = archive(|_| ());
    assert!(matches!(refuse(b"", &Limits::default()), PackageError::Empty { .. }));
    for bytes in [b"garbage".as_slice(), &[0; 100_000], b"PK\x05\x06", b"PK\x03\x04"] {
        assert!(matches!(refuse(bytes, &Limits::default()), PackageError::NotZip { .. }));
    }
    for length in 1..whole.len() {
        assert!(matches!(refuse(&whole[..length], &Limits::default()), PackageError::NotZip { .. }), "{length}");
    }
}

#[test]
fn a_zip64_file_is_refused_before_its_count_of_entries_is_believed() {
    let mut bytes = archive(|_| ());
    let end = bytes.split_off(bytes.len() - 22);
    let record = bytes.len() as u64;
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([u64::MAX / 2, u64::MAX / 2, u64::MAX, 0].map(u64::to_le_bytes).concat());
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(record.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(&end);
    let at = bytes.len() - 22;
    bytes[at + 8..at + 20].fill(0xff);
    assert!(matches!(refuse(&bytes, &Limits::default()), PackageError::Zip64 { .. }));
}

#[test]
fn no_changed_byte_does_harm() {
    let whole = archive(|writer| add(writer, "sub/file", b"some text"));
    let bench = Bench::new();
    package::prepare_home(&bench.home).unwrap();
    let before = bench.tree();
    for (at, change) in (0..whole.len()).flat_map(|at| [(at, 0x01), (at, 0x80), (at, 0xff)]) {
        let mut bytes = whole.clone();
        bytes[at] ^= change;
        // Some changes hit what nobody reads. Whatever the others hit, the answer is an error and nothing is left.
        let verified = package::verify(&bench.file("changed.nupkg", bytes), None, &Limits::default());
        if let (Ok(package), 0xff) = (verified, change) {
            drop(package::stage_tentacle(&bench.home, package));
            assert_eq!(bench.tree(), before, "byte {at}");
        }
    }
}

#[test]
fn as_many_entries_as_are_allowed_are_read_in_time() {
    let bench = Bench::new();
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let bytes = archive(|writer| {
        (2..u16::MAX).for_each(|i| writer.start_file(format!("{}/{i}", i % 100), options).unwrap());
    });
    let path = bench.file("many.nupkg", bytes);
    let package = package::PackageFile::open(&path, &Limits::default()).unwrap();
    assert_eq!(package.files().len(), usize::from(u16::MAX) - 1, "all but the nuspec");
}

#[test]
fn exactly_one_nuspec_must_lie_in_the_root() {
    let zip = |names: &[&str]| {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        names.iter().for_each(|name| add(&mut writer, name, nuspec().as_bytes()));
        writer.finish().unwrap().into_inner()
    };
    assert!(matches!(refuse(&zip(&["app.exe"]), &Limits::default()), PackageError::NoNuspec { .. }));
    assert!(matches!(refuse(&zip(&["sub/a.nuspec"]), &Limits::default()), PackageError::NoNuspec { .. }));
    let error = refuse(&zip(&["a.nuspec", "B.NuSpec"]), &Limits::default()).to_string();
    assert!(error.contains("\"a.nuspec\" and \"B.NuSpec\""), "{error}");
}

#[test]
fn a_nuspec_that_cannot_be_read_is_named() {
    for text in [b"\xff\xfe<\0".as_slice(), b"<package>", b"<package><metadata><id>a</id></metadata></package>"] {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        add(&mut writer, "bad.nuspec", text);
        let error = refuse(&writer.finish().unwrap().into_inner(), &Limits::default());
        assert!(matches!(&error, PackageError::Nuspec { entry, .. } if entry == "bad.nuspec"), "{error}");
    }
}

#[test]
fn what_is_not_a_file_is_refused_without_waiting() {
    let bench = Bench::new();
    let pipe = bench.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [pipe.as_path(), bench.path("").as_path(), Path::new("/dev/zero")] {
        let error = package::verify(path, None, &Limits::default()).unwrap_err();
        assert!(matches!(error, PackageError::NotAFile { .. }), "{error}");
    }
    let error = package::verify(&bench.path("missing"), None, &Limits::default()).unwrap_err();
    assert!(matches!(error, PackageError::Read { .. }), "{error}");
}

#[test]
fn folders_named_in_an_archive_and_odd_but_harmless_entries_are_installed() {
    let bench = Bench::new();
    let bytes = archive(|writer| {
        writer.add_directory("logs", SimpleFileOptions::default()).unwrap();
        add(writer, "_rels/.rels", b"");
        add(writer, "[Content_Types].xml", b"");
        add(writer, ".signature.p7s", b"");
        add(writer, "package/services/metadata/core-properties/1.psmdcp", b"");
        add(writer, "package/readme.txt", b"");
        add(writer, "Bin/a", b"");
        add(writer, "bin/b", &[0; 1 << 20]);
        add(writer, "sub/b.nuspec", b"");
    });
    let package = bench.file("odd.nupkg", bytes);
    let folder = bench.stage(&package).unwrap().arm(package::Authority::Bundled).unwrap().folder;
    let prefix = folder.strip_prefix(bench.home.path()).unwrap().display().to_string() + "/";
    let tree = bench.tree();
    let names: Vec<_> = tree.iter().filter_map(|path| path.strip_prefix(&prefix)).collect();
    let expected = [
        ".octopus-package",
        "Bin",
        "Bin/a",
        "bin",
        "bin/b",
        "logs",
        "package",
        "package/readme.txt",
        "sub",
        "sub/b.nuspec",
        "tentacle",
    ];
    assert_eq!(names, expected);
}
