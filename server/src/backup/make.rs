//! Making a backup, beside a portal that may be running: the database as it is at one moment, the identity, and the package
//! files that this database names, by choice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::str::FromStr;

use contract::Sha256;
use octopus_proto::tls::Identity;

use super::archive::{LeftOut, Manifest, Writer, package_digest, package_name};
use super::{BackupError, DATABASE, IDENTITY, OTHER_IDENTITIES, PACKAGES, Staging, disk, link};
use crate::clock::Timestamp;
use crate::db::snapshot::{SnapshotFacts, snapshot_facts, snapshot_write};
use crate::sys;

/// How often everything is gathered anew because a package was deleted meanwhile. What is missing then is missing.
const TRIES: usize = 3;

/// Which package files a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PackageChoice {
    /// Those of all packages, and of all rollouts.
    #[default]
    All,
    /// None. The database still names them all.
    None,
    /// Those of the packages with these ids, in lower case.
    Only(BTreeSet<String>),
}

impl FromStr for PackageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            ids => {
                let ids: BTreeSet<String> = ids.split(',').map(|id| id.trim().to_lowercase()).collect();
                if ids.iter().any(String::is_empty) {
                    return Err("write all, none, or the ids of packages with commas between them".to_owned());
                }
                Ok(Self::Only(ids))
            }
        }
    }
}

impl fmt::Display for PackageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Only(ids) => f.write_str(&ids.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl PackageChoice {
    fn takes(&self, package: Option<&String>) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(ids) => package.is_some_and(|id| ids.contains(id)),
        }
    }
}

/// Writes a backup of the portal in `data_dir` into an empty file, and makes that durable. The portal may go on meanwhile.
pub async fn backup_write(
    data_dir: &Path,
    choice: &PackageChoice,
    into: File,
    now: Timestamp,
) -> Result<Manifest, BackupError> {
    let database = data_dir.join(DATABASE);
    if !database.is_file() {
        return Err(BackupError::NoPortal { folder: data_dir.to_owned() });
    }
    let staging = Staging::new(data_dir)?;
    let packages = staging.path().join(PACKAGES);
    sys::private_folder(&packages).map_err(disk("make the folder", &packages))?;
    let store = data_dir.join(PACKAGES);
    let copy = staging.path().join(DATABASE);
    let mut tried = 0;
    let gathered = loop {
        tried += 1;
        // First all that is there, then the moment of the database, then what came between. A file that went away before
        // it was seen was deleted with its row: another moment does not name it.
        if *choice != PackageChoice::None {
            link_all(&store, &packages)?;
        }
        snapshot_write(&database, &copy).await?;
        let facts = snapshot_facts(&copy).await?;
        let gathered = Gathered::of(facts, choice, &store, &packages)?;
        if gathered.missing.is_empty() || tried == TRIES {
            break gathered;
        }
        fs::remove_file(&copy).map_err(disk("remove", &copy))?;
    };
    let (identity, choice, folder) = (data_dir.join(IDENTITY), choice.to_string(), data_dir.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        let thumbprint = Identity::load(&identity).map_err(|error| disk("read", &identity)(io::Error::other(error)))?;
        let manifest = Manifest {
            schema: gathered.facts.schema,
            made_at: now.rfc3339(),
            installation_id: gathered.facts.installation_id.clone(),
            thumbprint: thumbprint.thumbprint().to_string(),
            packages: choice,
            left_out: gathered.left_out,
            missing: gathered.missing.iter().map(Sha256::to_string).collect(),
            ..Manifest::new(env!("CARGO_PKG_VERSION"))
        };
        let mut writer = Writer::new(into);
        let mut add = |name: String, path: &Path| writer.add(name, path).map_err(disk("put into the backup", path));
        add(DATABASE.to_owned(), &copy)?;
        add(IDENTITY.to_owned(), &identity)?;
        for name in OTHER_IDENTITIES {
            let path = folder.join(name);
            if path.exists() {
                add(name.to_owned(), &path)?;
            }
        }
        for sha256 in &gathered.chosen {
            let name = package_name(sha256);
            add(name.clone(), &staging.path().join(&name))?;
        }
        writer.finish(manifest).map_err(disk("write the backup of", &folder))
    });
    written.await.map_err(|error| disk("write the backup of", data_dir)(io::Error::other(error)))?
}

/// What goes into a backup.
struct Gathered {
    facts: SnapshotFacts,
    chosen: BTreeSet<Sha256>,
    missing: BTreeSet<Sha256>,
    left_out: LeftOut,
}

impl Gathered {
    /// Chooses among the files that the database names, and gathers those that came since the first look.
    fn of(facts: SnapshotFacts, choice: &PackageChoice, store: &Path, packages: &Path) -> Result<Self, BackupError> {
        let mut named: BTreeMap<Sha256, (u64, bool)> = BTreeMap::new();
        for file in &facts.files {
            let entry = named.entry(file.sha256).or_insert((file.size, false));
            entry.1 |= choice.takes(file.package.as_ref());
        }
        let mut gathered =
            Self { facts, chosen: BTreeSet::new(), missing: BTreeSet::new(), left_out: LeftOut::default() };
        for (sha256, (size, is_chosen)) in named {
            let name = file_name(&sha256);
            let place = packages.join(&name);
            if !is_chosen {
                gathered.left_out.files += 1;
                gathered.left_out.bytes = gathered.left_out.bytes.saturating_add(size);
            } else if place.is_file() || link_one(&store.join(&name), &place)? {
                gathered.chosen.insert(sha256);
            } else {
                gathered.missing.insert(sha256);
            }
        }
        Ok(gathered)
    }
}

fn file_name(sha256: &Sha256) -> String {
    package_name(sha256).rsplit('/').next().unwrap_or_default().to_owned()
}

/// Gathers the complete files of a store.
fn link_all(store: &Path, packages: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(disk("list", store))?,
    };
    for entry in entries {
        let name = entry.map_err(disk("list", store))?.file_name();
        let is_package = name.to_str().is_some_and(|name| package_digest(&format!("{PACKAGES}/{name}")).is_some());
        let place = packages.join(&name);
        if is_package && !place.exists() {
            link_one(&store.join(&name), &place)?;
        }
    }
    Ok(())
}

/// Gathers one file. False where it is not there (any more).
fn link_one(from: &Path, to: &Path) -> Result<bool, BackupError> {
    match link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true).map_err(disk("gather", from)),
    }
}
