//! Whatever bytes stand where a version is expected, and whatever lies in the folder of versions: nothing is fatal, and
//! nothing but a complete version is one. `CONTRACT_CASES` sets how many texts and folders; a plain run makes few.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use contract::{Home, Version};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Texts that are tried in a plain run.
const TEXTS: u32 = 2_000;

/// Folders that are tried in a plain run. Each is a real one.
const FOLDERS: u32 = 100;

/// Longest name of a file, in bytes.
const NAME_MAX: usize = 255;

fn cases(default: u32) -> Config {
    let asked = std::env::var_os("CONTRACT_CASES").and_then(|value| value.to_str()?.parse().ok());
    Config { cases: asked.unwrap_or(default), failure_persistence: None, ..Config::default() }
}

/// Bytes that are often nearly a version.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "[0-9.+a-zA-Z-]{0,24}".prop_map(String::into_bytes),
        "[0-9]{1,3}(\\.[0-9]{1,11}){0,4}(-[0-9a-zA-Z.-]{0,8})?(\\+[0-9a-z.]{0,4})?".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(cases(TEXTS))]

    #[test]
    fn any_bytes_are_a_version_in_one_spelling_or_are_refused(bytes in bytes()) {
        let text = String::from_utf8_lossy(&bytes);
        let Ok(version) = text.parse::<Version>() else {
            prop_assert_eq!(Version::from_folder_name(&text), None);
            return Ok(());
        };
        let name = version.folder_name();
        prop_assert!(name.len() < NAME_MAX && !name.starts_with('.') && !name.contains(['/', '\\', '\0']), "{}", name);
        prop_assert_eq!(Version::from_folder_name(&name), Some(version.clone()));
        prop_assert_eq!(version.to_string().parse::<Version>().ok(), Some(version.clone()), "normal form is stable");
        prop_assert_eq!(Version::from_folder_name(&text).is_some(), text == name, "one spelling");
    }

    #[test]
    fn versions_are_totally_ordered_and_equal_exactly_where_their_names_are(three in [bytes(), bytes(), bytes()]) {
        let read = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).parse::<Version>().ok();
        let [Some(a), Some(b), Some(c)] = three.each_ref().map(read) else { return Ok(()) };
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.folder_name() == b.folder_name());
        prop_assert!(!(a <= b && b <= c) || a <= c, "{} {} {}", a, b, c);
    }
}

/// What lies at a name.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Folder,
    File,
    LinkToFolder,
    LinkToItself,
    Dangling,
    Socket,
    Locked,
}

fn make(path: &Path, thing: Thing) {
    // Where a name is too long or was taken by another, there is one thing less.
    let _ = match thing {
        Thing::Folder => fs::create_dir(path),
        Thing::File => fs::write(path, "x"),
        Thing::LinkToFolder => symlink("/", path),
        Thing::LinkToItself => symlink(path, path),
        Thing::Dangling => symlink("nowhere", path),
        Thing::Socket => UnixListener::bind(path).map(drop),
        Thing::Locked => {
            use std::os::unix::fs::PermissionsExt as _;
            fs::create_dir(path).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o500)))
        }
    };
}

proptest! {
    #![proptest_config(cases(FOLDERS))]

    #[test]
    fn a_hostile_folder_holds_exactly_its_folders_with_the_one_spelling_of_a_version(
        entries in proptest::collection::vec((bytes(), 0_usize..7), 0..30)
    ) {
        use Thing::{Dangling, File, Folder, LinkToFolder, LinkToItself, Locked, Socket};
        let place = tempfile::tempdir().unwrap();
        let home = Home::new(place.path());
        fs::create_dir_all(home.tentacles()).unwrap();
        for (bytes, thing) in &entries {
            let fits = !bytes.is_empty() && !bytes.contains(&0) && !bytes.contains(&b'/') && bytes != b"." && bytes != b"..";
            if fits {
                let thing = [Folder, File, LinkToFolder, LinkToItself, Dangling, Socket, Locked][*thing];
                make(&home.tentacles().join(OsStr::from_bytes(bytes)), thing);
            }
        }
        let found = home.installed_tentacles().unwrap();
        prop_assert!(found.windows(2).all(|two| two[0] > two[1]), "newest first: {:?}", found);
        let names: BTreeSet<_> = found.iter().map(Version::folder_name).collect();
        let mut expected = BTreeSet::new();
        for entry in fs::read_dir(home.tentacles()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let spelled = name.parse::<Version>().is_ok_and(|version| version.folder_name() == name);
            if spelled && fs::symlink_metadata(entry.path()).unwrap().is_dir() {
                expected.insert(name.to_owned());
            }
        }
        prop_assert_eq!(names, expected);
    }
}
