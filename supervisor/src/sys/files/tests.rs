//! Tests of the home folder's files, in real folders. Whatever lies there, nothing is followed, and nothing blocks.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use rustix::fs::CWD;

use super::super::stderr::Guard;
use super::*;

/// Hostile folders that are read in a plain run; `SUCTION_CUP_FOLDERS` makes them more.
const FOLDERS: u32 = 25;

/// The longest that a reading may take before it is said to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home folder in a temporary one, with its two folders.
fn place() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    fs::create_dir_all(home.tentacles()).unwrap();
    fs::create_dir_all(home.supervisor()).unwrap();
    (folder, home)
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn pipe(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR.union(Mode::WUSR), 0)?)
}

/// Does it on another thread, so that a test fails where it hangs.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answers) = mpsc::channel();
    std::thread::spawn(move || answer.send(what()));
    answers.recv_timeout(PATIENCE).expect("it hangs")
}

#[test]
fn versions_come_with_their_marks_and_the_number_of_their_folder() {
    let (_folder, home) = place();
    for name in ["1.9.0", "1.10.0", "2.0.0-rc", "3.0.0", ".incoming-4.0.0-x"] {
        fs::create_dir(home.tentacles().join(name)).unwrap();
    }
    fs::write(home.proven(&v("1.9.0")), "").unwrap();
    fs::write(home.rejected(&v("1.10.0")), "crashed").unwrap();
    fs::write(home.launches(&v("1.10.0")), "...").unwrap();
    fs::create_dir(home.launches(&v("1.9.0"))).unwrap();
    fs::write(home.withdrawn(&v("2.0.0-rc")), "").unwrap();
    for other in ["5.0.0.proven", "stderr", "3.0.0.other", "3.0.proven"] {
        fs::write(home.supervisor().join(other), "").unwrap();
    }
    let survey = survey(&home);
    let one = |name: &str| {
        let folder = fs::symlink_metadata(home.tentacles().join(name)).unwrap().ino();
        Installed { folder, ..Installed::new(v(name)) }
    };
    let expected = vec![
        Installed { proven: true, ..one("1.9.0") },
        Installed { rejected: true, launches: 3, ..one("1.10.0") },
        Installed { withdrawn: true, ..one("2.0.0-rc") },
        one("3.0.0"),
    ];
    assert_eq!(survey, Survey { versions: expected, ..Survey::default() });
}

#[test]
fn what_is_not_there_is_no_fault_and_what_cannot_be_read_is_one() {
    let (folder, home) = place();
    fs::create_dir(home.tentacle(&v("1.0.0"))).unwrap();
    let faults = |home: &Home| {
        let survey = survey(home);
        (survey.versions_fault.is_some(), survey.marks_fault.is_some())
    };
    assert_eq!(faults(&home), (false, false));
    assert_eq!(faults(&Home::new(folder.path().join("none"))), (false, false), "nothing there");
    fs::remove_dir(home.supervisor()).unwrap();
    fs::write(home.supervisor(), "").unwrap();
    assert_eq!(faults(&home), (false, false), "a file in the place of the marks holds none");
    fs::remove_file(home.supervisor()).unwrap();
    symlink("supervisor", home.supervisor()).unwrap();
    assert_eq!(faults(&home), (false, true), "a ring of links");
    fs::remove_dir_all(home.tentacles()).unwrap();
    fs::write(home.tentacles(), "").unwrap();
    assert_eq!(faults(&home), (true, true));
    assert!(survey(&home).versions_fault.unwrap().contains(".Tentacle: "));
}

#[test]
fn a_pipe_in_the_place_of_a_folder_is_a_fault_and_blocks_nothing() {
    let (_folder, home) = place();
    fs::remove_dir(home.tentacles()).unwrap();
    fs::remove_dir(home.supervisor()).unwrap();
    pipe(&home.tentacles()).unwrap();
    pipe(&home.supervisor()).unwrap();
    let survey = in_time(move || survey(&home));
    assert!(survey.versions_fault.is_some());
}

#[test]
fn a_file_system_that_does_not_tell_the_kind_is_asked_again() {
    let (folder, home) = place();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    symlink(home.tentacles(), &link).unwrap();
    let asked = |path: &Path| is_folder(FileType::Unknown, path).ok();
    assert_eq!(asked(&home.tentacles()), Some(true));
    assert_eq!(asked(&file), Some(false));
    assert_eq!(asked(&link), Some(false), "a link to a folder is none");
    assert_eq!(asked(&folder.path().join("gone")), Some(false));
    assert_eq!(asked(&file.join("below")), None);
    assert_eq!(is_folder(FileType::Directory, &file).ok(), Some(true), "what was told is believed");
    assert_eq!(is_folder(FileType::Symlink, &file).ok(), Some(false));
}

#[test]
fn launches_are_counted_in_bytes() {
    let (_folder, home) = place();
    let path = home.launches(&v("1.0.0"));
    assert_eq!(count_in(&path).unwrap(), 0, "gone since its name was read");
    for count in 1..=3 {
        count_launch(&home, &v("1.0.0")).unwrap();
        assert_eq!(count_in(&path).unwrap(), count);
    }
    assert!(count_in(&path.join("below")).is_err());
}

#[test]
fn a_missing_folder_of_marks_is_made_for_our_own_eyes_and_any_other_failure_is_told() {
    let (_folder, home) = place();
    fs::remove_dir(home.supervisor()).unwrap();
    count_launch(&home, &v("1.0.0")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home.supervisor()), mode(&home.launches(&v("1.0.0")))), (0o700, 0o600));
    symlink("2.0.0.launches", home.launches(&v("2.0.0"))).unwrap();
    let error = count_launch(&home, &v("2.0.0")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()), "{error}");
    fs::create_dir(home.launches(&v("3.0.0"))).unwrap();
    count_launch(&home, &v("3.0.0")).unwrap_err();
}

#[test]
fn a_verdict_is_written_whole_and_a_refusal_of_the_disk_is_told() {
    let (_folder, home) = place();
    reject(&home, &v("1.0.0"), Rejection::Unconfirmed, "It ran for 600.0 s.").unwrap();
    assert_eq!(fs::read_to_string(home.rejected(&v("1.0.0"))).unwrap(), "unconfirmed It ran for 600.0 s.\n");
    assert_eq!(fs::read_dir(home.supervisor()).unwrap().count(), 1, "nothing is left beside it");
    fs::create_dir(home.rejected(&v("2.0.0"))).unwrap();
    reject(&home, &v("2.0.0"), Rejection::Crashed, "").unwrap_err();
}

#[test]
fn last_words_are_a_bounded_sentence_and_the_end_of_stderr() {
    let (_folder, home) = place();
    assert_eq!(gather_last_words(&home, "1.0.0 ended"), b"1.0.0 ended\n", "without a stderr");
    let said: Vec<u8> = (0..251).cycle().take(40_000).collect();
    fs::write(home.stderr(), &said).unwrap();
    let words = gather_last_words(&home, &"é".repeat(400));
    assert_eq!(words, [&"é".repeat(256).into_bytes(), b"\n".as_slice(), &said[40_000 - 15_360..]].concat());
    for text in ["the first", "2nd"] {
        keep_last_words(&home, text.as_bytes());
        keep_status(&home, text);
        assert_eq!(read_small(&home.last_words()).as_deref(), Some(text));
        assert_eq!(read_small(&home.status()).as_deref(), Some(text));
    }
}

#[test]
fn no_more_of_a_small_file_is_read_than_there_is_room_for() {
    let (folder, home) = place();
    let path = folder.path().join("long");
    fs::write(&path, "x".repeat(100_000)).unwrap();
    assert_eq!(read_small(&path).unwrap().len(), 16_384);
    fs::write(&path, b"\xffx").unwrap();
    assert_eq!(read_small(&path).as_deref(), Some("\u{fffd}x"));
    assert_eq!(read_small(&home.status()), None);
}

#[test]
fn nothing_but_a_file_is_opened_and_nothing_blocks() {
    let (folder, home) = place();
    let file = folder.path().join("file");
    fs::write(&file, "whole").unwrap();
    type Make = fn(&Path, &Path) -> io::Result<()>;
    let hostile: [(&str, Make); 4] = [
        ("a link", |path, file| symlink(file, path)),
        ("a pipe", |path, _| pipe(path)),
        ("a folder", |path, _| fs::create_dir(path)),
        ("a socket", |path, _| UnixListener::bind(path).map(drop)),
    ];
    for (what, make) in hostile {
        let path = folder.path().join(what);
        make(&path, &file).unwrap();
        let [small, opened] =
            in_time(move || [read_small(&path).is_some(), open(OpenOptions::new().append(true), &path).is_ok()]);
        assert_eq!([small, opened], [false, false], "{what}");
    }
    make_and_open_stderr(&home);
    assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
}

/// The file of a child's stderr: emptied, written to at its end, and not touched where it is empty.
fn make_and_open_stderr(home: &Home) {
    let first = open_stderr(home).unwrap();
    let mut guard = Guard::new();
    guard.start(&home.stderr());
    drop(first);
    let mut file = open_stderr(home).unwrap();
    guard.tend();
    assert_eq!(guard.left(), None, "emptying what is empty would wake the guard for nothing");
    file.write_all(b"a child's words").unwrap();
    let mut next = open_stderr(home).unwrap();
    assert_eq!(fs::metadata(home.stderr()).unwrap().len(), 0);
    next.write_all(b"new").unwrap();
    file.write_all(b" and old").unwrap();
    assert_eq!(fs::read_to_string(home.stderr()).unwrap(), "new and old", "no hole is written");
}

#[test]
fn a_home_that_cannot_be_looked_at_is_said_to_be_so() {
    let (folder, home) = place();
    assert_eq!(can_read(&home), Ok(()));
    assert!(can_read(&Home::new(folder.path().join("none"))).is_err());
    fs::remove_dir(home.supervisor()).unwrap();
    assert_eq!(can_read(&home), Ok(()), "nothing was marked yet");
    assert!(shown(Err(io::ErrorKind::PermissionDenied.into())).is_err());
    assert_eq!(shown(Err(io::ErrorKind::NotADirectory.into())), Ok(()));
}

#[test]
fn the_bundle_is_beside_the_program_and_a_thousand_names_of_it_are_taken() {
    let own = std::env::current_exe().unwrap();
    assert_eq!(program_folder().as_deref(), own.parent());
    let (folder, _) = place();
    assert_eq!(bundled_names(folder.path()), Vec::<String>::new());
    fs::create_dir(folder.path().join("bundle")).unwrap();
    fs::write(folder.path().join("bundle/0.nupkg"), "").unwrap();
    assert!(bundled_names(folder.path()).contains(&"0.nupkg".to_owned()));
    for number in 1..=1_001 {
        fs::write(folder.path().join(format!("bundle/{number}.nupkg")), "").unwrap();
    }
    assert_eq!(bundled_names(folder.path()).len(), 1_000);
}

/// Puts something at a name that is free. Whatever is there already is neither opened nor followed: a pipe would wait.
type Thing = fn(&Path) -> io::Result<()>;

const THINGS: [Thing; 9] = [
    |path| fs::create_dir(path),
    |path| fs::create_dir(path).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o0))),
    |path| File::create_new(path).and_then(|mut file| file.write_all(b"x")),
    |path| symlink("/", path),
    |path| symlink(path.file_name().unwrap_or_default(), path),
    |path| symlink("nowhere", path),
    |path| symlink("/dev/zero", path),
    |path| UnixListener::bind(path).map(drop),
    pipe,
];

/// Names that are often those of versions, with or without the end of a mark's name; of any bytes; and too long ones.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let version = "[1-3]\\.[0-9]{1,2}\\.0(-(rc|RC)(\\.0?[1-3])?)?".prop_map(String::into_bytes);
    let end = prop_oneof![
        3 => Just(""), 1 => Just(".proven"), 1 => Just(".rejected"), 1 => Just(".withdrawn"), 1 => Just(".launches")
    ];
    prop_oneof![
        6 => (version, end).prop_map(|(version, end)| [version, end.as_bytes().to_vec()].concat()),
        1 => proptest::collection::vec(1_u8.., 1..260),
        1 => Just(b".incoming-9.0.0-ab".to_vec()),
    ]
}

/// Fills a folder. A name that cannot be had is one thing less.
fn fill(folder: &Path, things: &[(Vec<u8>, usize)]) {
    use std::os::unix::ffi::OsStrExt as _;
    for (name, thing) in things {
        let fits = !name.contains(&b'/') && name != b"." && name != b"..";
        if fits {
            let _ = THINGS[*thing](&folder.join(std::ffi::OsStr::from_bytes(name)));
        }
    }
}

/// The names in a folder, with whether each is a folder of its own.
fn listed(folder: &Path) -> BTreeMap<String, bool> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.file_type().unwrap().is_dir())))
        .collect()
}

proptest! {
    #![proptest_config(Config {
        cases: std::env::var_os("SUCTION_CUP_FOLDERS").and_then(|value| value.to_str()?.parse().ok()).unwrap_or(FOLDERS),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn whatever_lies_in_the_two_folders_they_are_read_in_time_and_hold_exactly_what_is_complete(
        versions in proptest::collection::vec((name(), 0..THINGS.len()), 0..25),
        marks in proptest::collection::vec((name(), 0..THINGS.len()), 0..25),
    ) {
        let (_folder, home) = place();
        fill(&home.tentacles(), &versions);
        fill(&home.supervisor(), &marks);
        let (complete, marked) = (listed(&home.tentacles()), listed(&home.supervisor()));
        let read = in_time({ let home = home.clone(); move || survey(&home) });
        prop_assert_eq!((&read.versions_fault, &read.marks_fault), (&None, &None));
        let names: Vec<_> = read.versions.iter().map(|one| one.version.folder_name()).collect();
        let is_version = |name: &str| name.parse::<Version>().is_ok_and(|version| version.folder_name() == name);
        let expected: Vec<_> = complete.iter().filter(|(name, folder)| **folder && is_version(name)).collect();
        prop_assert_eq!(names.len(), expected.len(), "{:?}", names);
        prop_assert!(read.versions.windows(2).all(|two| two[0].version < two[1].version), "{:?}", names);
        for one in &read.versions {
            let name = one.version.folder_name();
            prop_assert_eq!(complete.get(&name), Some(&true), "{}", name);
            let is_marked = |mark: &str| marked.contains_key(&format!("{name}.{mark}"));
            prop_assert_eq!(one.proven, is_marked("proven"));
            prop_assert_eq!(one.rejected, is_marked("rejected"));
            prop_assert_eq!(one.withdrawn, is_marked("withdrawn"));
            let file = fs::symlink_metadata(home.launches(&one.version)).ok().filter(fs::Metadata::is_file);
            prop_assert_eq!(one.launches, file.map_or(0, |file| file.len()));
        }
    }
}
