//! Backups: what one holds, where it may be restored, and what is left where something is wrong with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use octopus_server::backup::archive::{Reader, Writer, package_name};
use octopus_server::clock::Timestamp;
use octopus_server::db::Db;
use octopus_server::db::api_keys::api_key_list;
use octopus_server::db::packages::package_insert;
use octopus_server::db::users::user_by_name;
use octopus_server::ids::SpaceId;
use octopus_server::model::NewPackage;
use tempfile::TempDir;

use crate::{Portal, answer, folder, output, program, text};

/// A portal that runs on a folder of its own, with two packages.
pub async fn running() -> (TempDir, Portal) {
    let data = folder();
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let db = Db::open(&data.path().join("octopus.db")).await.unwrap();
    let mut tx = db.write().await.unwrap();
    for id in ["Acme.Web", "Acme.Api"] {
        let sha256 = package::sha256_bytes(id.as_bytes());
        fs::write(data.path().join(package_name(&sha256)), id).unwrap();
        let new = NewPackage {
            space: SpaceId::DEFAULT,
            package_id: id.parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            sha256,
            size: id.len() as u64,
            title: String::new(),
            summary: String::new(),
            description: String::new(),
            release_notes: String::new(),
        };
        package_insert(&mut tx, &new, Timestamp(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
    db.close().await;
    (data, portal)
}

pub fn backup(data: &Path, file: &Path, more: &[&str]) -> Output {
    output(program(&[&["backup", file.to_str().unwrap()], more].concat(), data))
}

fn restore(data: &Path, file: &Path, more: &[&str]) -> Output {
    output(program(&[&["restore", file.to_str().unwrap()], more].concat(), data))
}

pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

/// Everything in a folder that is no database, with its bytes; of databases the names.
pub fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            let is_database = path.to_string_lossy().contains("octopus.db");
            found.insert(path.clone(), if is_database { Vec::new() } else { fs::read(&path).unwrap() });
        }
    }
    found
}

pub async fn keys(data: &Path) -> usize {
    let db = Db::open(&data.join("octopus.db")).await.unwrap();
    let mut conn = db.read().await.unwrap();
    let admin = user_by_name(&mut conn, "admin").await.unwrap().unwrap();
    let keys = api_key_list(&mut conn, admin.id).await.unwrap().len();
    drop(conn);
    db.close().await;
    keys
}

#[tokio::test]
async fn a_portal_that_runs_is_backed_up_and_restored_elsewhere_with_everything() {
    let (data, portal) = running().await;
    assert!(output(program(&["admin", "create-api-key"], data.path())).status.success());
    let place = folder();
    let file = place.path().join("portal.backup");
    let said = done(&backup(data.path(), &file, &[]));
    assert!(said.contains("2 package files") && said.contains(portal.thumbprint()), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left there");
    assert_eq!(fs::read_dir(data.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 1);

    assert!(refused(&backup(data.path(), &file, &[])).contains("is there already"));
    done(&backup(data.path(), &file, &["--force"]));

    let other = place.path().join("elsewhere");
    let said = done(&restore(&other, &file, &[]));
    assert!(said.contains("All sessions of it have ended"), "{said}");
    assert_eq!(fs::metadata(other.join("identity.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(keys(&other).await, 1);
    let restored = Portal::start(&other, &["--listen", "127.0.0.1:0"]);
    assert_eq!(restored.thumbprint(), portal.thumbprint());
    for id in ["Acme.Web", "Acme.Api"] {
        let name = package_name(&package::sha256_bytes(id.as_bytes()));
        assert_eq!(fs::read_to_string(other.join(name)).unwrap(), id);
    }
}

#[tokio::test]
async fn packages_are_left_out_by_choice_and_what_lies_here_already_is_used() {
    let (data, portal) = running().await;
    let place = folder();
    let (all, none, one) = (place.path().join("all"), place.path().join("none"), place.path().join("one"));
    done(&backup(data.path(), &all, &[]));
    let said = done(&backup(data.path(), &none, &["--packages", "none"]));
    assert!(said.contains("0 package files") && said.contains("Left out by choice: 2 package files"), "{said}");
    let said = done(&backup(data.path(), &one, &["--packages", "acme.web, other"]));
    assert!(said.contains("1 package files") && said.contains("Left out by choice: 1 package files"), "{said}");
    assert_eq!(Reader::open(&one).unwrap().manifest.package_files().count(), 1);

    let said = done(&restore(&place.path().join("elsewhere"), &none, &[]));
    assert!(said.contains("Missing: 2 package files"), "{said}");
    portal.kill();
    let said = done(&restore(data.path(), &none, &["--force"]));
    assert!(!said.contains("Missing"), "{said}");
    let web = package_name(&package::sha256_bytes(b"Acme.Web"));
    assert_eq!(fs::read_to_string(data.path().join(web)).unwrap(), "Acme.Web");
}

#[tokio::test]
async fn a_portal_is_replaced_only_where_somebody_says_so_and_is_kept_beside() {
    let (data, portal) = running().await;
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &["--packages", "none"]));
    assert!(output(program(&["admin", "create-api-key"], data.path())).status.success());

    let said = refused(&restore(data.path(), &file, &["--force"]));
    assert!(said.contains("a portal is running") && said.contains("--at-next-start"), "{said}");
    let said = refused(&restore(data.path(), &file, &["--at-next-start"]));
    assert!(said.contains("--force"), "{said}");
    let said = done(&restore(data.path(), &file, &["--at-next-start", "--force"]));
    assert!(said.contains("at its next start"), "{said}");
    let said = refused(&restore(data.path(), &file, &["--at-next-start"]));
    assert!(said.contains("another backup waits"), "{said}");
    done(&restore(data.path(), &file, &["--at-next-start", "--force"]));
    assert_eq!(keys(data.path()).await, 1, "the portal that runs is as it was");
    let thumbprint = portal.thumbprint().to_owned();
    portal.kill();
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!((portal.thumbprint(), keys(data.path()).await), (thumbprint.as_str(), 0));
    portal.kill();

    let said = refused(&restore(data.path(), &file, &[]));
    assert!(said.contains("say --force"), "{said}");
    done(&restore(data.path(), &file, &["--force"]));
    let kept = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("before-restore-");
    let kept: Vec<PathBuf> =
        fs::read_dir(data.path()).unwrap().map(Result::unwrap).filter(kept).map(|entry| entry.path()).collect();
    assert_eq!(kept.len(), 2);
    let mut found = Vec::new();
    for kept in &kept {
        assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o700);
        found.push(keys(kept).await);
    }
    found.sort_unstable();
    assert_eq!(found, [0, 1], "what was there before each restore is there still");
}

#[tokio::test]
async fn a_backup_that_is_cut_off_damaged_or_changed_touches_nothing() {
    let (data, portal) = running().await;
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &[]));
    portal.kill();
    let before = content(data.path());
    let good = fs::read(&file).unwrap();
    let bad = place.path().join("bad.backup");
    let mut tried = Vec::new();
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        tried.push((format!("cut off at {length}"), good[..length].to_vec()));
    }
    for at in [200, good.len() / 3, good.len() / 2] {
        let mut changed = good.clone();
        changed[at] ^= 0x55;
        tried.push((format!("changed at {at}"), changed));
    }
    tried.push(("junk".to_owned(), b"no backup".repeat(1000)));
    for (what, bytes) in tried {
        fs::write(&bad, bytes).unwrap();
        let said = refused(&restore(data.path(), &bad, &["--force"]));
        assert!(said.contains("Nothing was changed"), "{what}: {said}");
        assert_eq!(content(data.path()), before, "{what}");
    }
    let said = refused(&restore(data.path(), &place.path().join("nowhere"), &["--force"]));
    assert!(said.contains("cannot open"), "{said}");
}

#[tokio::test]
async fn a_backup_of_a_newer_portal_or_with_other_content_than_it_says_is_refused() {
    let (data, portal) = running().await;
    let place = folder();
    let (file, made) = (place.path().join("portal.backup"), place.path().join("made.backup"));
    done(&backup(data.path(), &file, &["--packages", "none"]));
    portal.kill();
    let manifest = Reader::open(&file).unwrap().manifest;
    let make = |schema: i64, parts: &[(&str, &str)]| {
        let mut writer = Writer::new(File::create(&made).unwrap());
        for (name, from) in parts {
            writer.add((*name).to_owned(), &data.path().join(from)).unwrap();
        }
        writer.finish(octopus_server::backup::archive::Manifest { schema, ..manifest.clone() }).unwrap();
        refused(&restore(&place.path().join("elsewhere"), &made, &[]))
    };
    let both = [("octopus.db", "octopus.db"), ("identity.pem", "identity.pem")];
    let said = make(9_999, &both);
    assert!(said.contains("schema 9999") && said.contains("newer"), "{said}");
    let said = make(manifest.schema, &both[..1]);
    assert!(said.contains("holds no identity.pem"), "{said}");
    let said = make(manifest.schema, &[both[0], both[1], ("../outside", "identity.pem")]);
    assert!(said.contains("names a part that no backup has"), "{said}");
    let said = make(manifest.schema, &[("octopus.db", "identity.pem"), both[1]]);
    assert!(said.contains("its database cannot be used"), "{said}");
    assert!(!place.path().join("elsewhere/octopus.db").exists());
}

#[tokio::test]
async fn what_a_killed_backup_left_goes_with_the_next_start() {
    let (data, portal) = running().await;
    portal.kill();
    fs::create_dir(data.path().join(".backup-dead")).unwrap();
    fs::write(data.path().join(".backup-dead/octopus.db"), "half").unwrap();
    let _portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(!data.path().join(".backup-dead").exists());
    let said = refused(&backup(&data.path().join("nothing"), &data.path().join("x"), &[]));
    assert!(said.contains("there is no portal in"), "{said}");
    let said = refused(&backup(data.path(), &data.path().join("nowhere/x"), &[]));
    assert!(said.contains("cannot make a file in"), "{said}");
}

/// The status and the body of a GET with an API key.
async fn asked(port: u16, path: &str, key: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Octopus-ApiKey: {key}\r\n\r\n");
    answer(port, &request).await
}

#[tokio::test]
async fn keys_of_a_restored_portal_are_refused_until_somebody_confirms_and_new_ones_work() {
    let (data, portal) = running().await;
    let make = || {
        let made = output(program(&["admin", "create-api-key", "--purpose", "nightly"], data.path()));
        text(&made.stdout).trim().to_owned()
    };
    let old = make();
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &["--packages", "none"]));
    assert!(asked(portal.port, "/api/users/me", &old).await.starts_with("HTTP/1.1 200"));
    portal.kill();
    done(&restore(data.path(), &file, &["--force"]));
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let refused = asked(portal.port, "/api/users/me", &old).await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("restored from a backup of"), "{refused}");
    let new = make();
    let told = asked(portal.port, "/api/restoration", &new).await;
    assert!(told.contains(r#""AwaitsConfirmation":true"#) && told.contains(r#""SuspendedApiKeys":1"#), "{told}");

    let said = done(&output(program(&["admin", "confirm-restore"], data.path())));
    assert!(said.contains("nightly") && said.contains("With --yes, 1 API key and 0 registration keys"), "{said}");
    assert!(asked(portal.port, "/api/users/me", &old).await.starts_with("HTTP/1.1 401"));
    let said = done(&output(program(&["admin", "confirm-restore", "--yes"], data.path())));
    assert!(said.contains("Confirmed: 1 API key"), "{said}");
    assert!(asked(portal.port, "/api/users/me", &old).await.starts_with("HTTP/1.1 200"));
    let said = done(&output(program(&["admin", "confirm-restore"], data.path())));
    assert!(said.contains("Nothing is to be confirmed"), "{said}");
    let told = asked(portal.port, "/api/restoration", &new).await;
    assert!(told.contains(r#""ConfirmedBy":"somebody at the console""#), "{told}");
}

#[tokio::test]
async fn a_link_of_the_backup_chooses_no_password_and_a_restored_portal_prints_one_that_does() {
    let (data, portal) = running().await;
    let path = |portal: &Portal| portal.link().unwrap().split_once("/setup").map(|link| format!("/setup{}", link.1));
    let old = path(&portal).unwrap();
    assert!(asked(portal.port, &old, "").await.starts_with("HTTP/1.1 200"));
    let place = folder();
    let file = place.path().join("portal.backup");
    done(&backup(data.path(), &file, &["--packages", "none"]));
    portal.kill();
    done(&restore(data.path(), &file, &["--force"]));
    let portal = Portal::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(asked(portal.port, &old, "").await.starts_with("HTTP/1.1 403"), "it may have been used since");
    let new = path(&portal).unwrap();
    let (token, password) = (new.rsplit('=').next().unwrap(), "correct+horse+battery");
    let fields = format!("token={token}&password={password}&again={password}");
    let form = format!(
        "POST /setup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{fields}",
        fields.len()
    );
    let chosen = answer(portal.port, &form).await;
    assert!(chosen.starts_with("HTTP/1.1 303") && chosen.contains("set-cookie: octopus-session="), "{chosen}");
}
