//! Whom this Tentacle trusts: the list in `tentacle.toml`, read again when the file has changed, so that neither a portal
//! that rotates its identity nor `tentacle register` needs a restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use contract::Thumbprint;
use octopus_proto::{Refusal, RefusalKind, TrustChange};
use toml_edit::{Array, DocumentMut, value};

use crate::config::{Settings, SettingsError};
use crate::log::chain;
use crate::sys;

const TRUSTED: &str = "trusted";

/// The portals that may give orders, and this Tentacle itself, which may ask how it is.
#[derive(Debug)]
pub(crate) struct TrustedPortals {
    path: PathBuf,
    own: Thumbprint,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    stamp: Stamp,
    settings: Settings,
    problem: Option<String>,
}

/// What tells one version of the file from another without reading it. `None`: there is no file.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), sys::file_id(&metadata)))
}

impl TrustedPortals {
    /// Reads the settings at `path`.
    pub(crate) fn open(path: PathBuf, own: Thumbprint) -> Result<Self, SettingsError> {
        let stamp = stamp(&path);
        let settings = Settings::load(&path)?;
        Ok(Self { path, own, cache: Mutex::new(Cache { stamp, settings, problem: None }) })
    }

    /// The settings as they are now. Where the file cannot be read the last good ones hold.
    pub(crate) fn settings(&self) -> Settings {
        self.refreshed().0
    }

    /// What is wrong with the file since it was last read well.
    pub(crate) fn problem(&self) -> Option<String> {
        self.refreshed().1
    }

    fn refreshed(&self) -> (Settings, Option<String>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp != cache.stamp {
            cache.stamp = stamp;
            match Settings::load(&self.path) {
                Ok(settings) => (cache.settings, cache.problem) = (settings, None),
                Err(error) => {
                    let problem = format!("{}; the former settings hold", chain(&error));
                    tracing::error!(problem, "the settings were changed and cannot be used");
                    cache.problem = Some(problem);
                }
            }
        }
        (cache.settings.clone(), cache.problem.clone())
    }

    /// True for a portal that may give orders.
    pub(crate) fn is_portal(&self, peer: &Thumbprint) -> bool {
        self.settings().trusted.contains(peer)
    }

    /// True for this Tentacle itself.
    pub(crate) fn is_own(&self, peer: &Thumbprint) -> bool {
        self.own == *peer
    }

    /// Changes the list on `caller`'s word and returns the list after. Blocks on the disk.
    pub(crate) fn change(&self, change: &TrustChange, caller: &Thumbprint) -> Result<Vec<Thumbprint>, Refusal> {
        let before = self.settings().trusted;
        let mut after = before.clone();
        after.extend(&change.add);
        let mut seen = Vec::new();
        after.retain(|portal| {
            let keep = !change.remove.contains(portal) && !seen.contains(portal);
            seen.push(*portal);
            keep
        });
        let refuse = |sentence: &str| Err(Refusal::new(RefusalKind::LastTrust, sentence));
        if after.is_empty() {
            return refuse("nobody would be trusted any more, and no portal could reach this machine again");
        }
        if !after.contains(caller) && !change.add.iter().any(|added| after.contains(added)) {
            return refuse(
                "the portal that asks would shut itself out: let it add its new thumbprint at the same time",
            );
        }
        if after != before {
            write(&self.path, &after).map_err(|error| {
                let sentence = format!("could not change {}: {error}", self.path.display());
                Refusal::new(RefusalKind::Internal, sentence)
            })?;
            tracing::info!(?after, by = %caller, "the list of trusted portals was changed");
        }
        Ok(after)
    }
}

impl octopus_proto::tls::Trust for TrustedPortals {
    fn trusts(&self, peer: &Thumbprint) -> bool {
        self.is_own(peer) || self.is_portal(peer)
    }
}

/// Writes the list into the settings file and leaves everything else in it as it is, comments too.
pub(crate) fn write(path: &Path, trusted: &[Thumbprint]) -> io::Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let mut document: DocumentMut = text.parse().map_err(io::Error::other)?;
    document[TRUSTED] = value(trusted.iter().map(ToString::to_string).collect::<Array>());
    sys::write_durable(path, document.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use octopus_proto::tls::Trust as _;

    use super::*;

    fn print(number: u8) -> Thumbprint {
        Thumbprint([number; 32])
    }

    fn portals(text: &str) -> (tempfile::TempDir, TrustedPortals) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tentacle.toml");
        fs::write(&path, text).unwrap();
        let portals = TrustedPortals::open(path, print(0)).unwrap();
        (folder, portals)
    }

    fn change(add: &[u8], remove: &[u8]) -> TrustChange {
        let list = |numbers: &[u8]| numbers.iter().map(|number| print(*number)).collect();
        TrustChange { add: list(add), remove: list(remove) }
    }

    #[test]
    fn a_change_of_the_file_counts_without_a_restart() {
        let (_folder, portals) = portals("");
        assert!(portals.trusts(&print(0)) && !portals.trusts(&print(1)));
        write(&portals.path, &[print(1)]).unwrap();
        assert!(portals.trusts(&print(1)) && portals.is_portal(&print(1)) && !portals.is_portal(&print(0)));
        fs::write(&portals.path, "broken").unwrap();
        assert!(portals.trusts(&print(1)), "the last good list holds");
        assert!(portals.problem().unwrap().contains("tentacle.toml"));
        fs::remove_file(&portals.path).unwrap();
        assert!(!portals.trusts(&print(1)) && portals.problem().is_none());
    }

    #[test]
    fn a_portal_can_rotate_its_identity_and_other_settings_stay() {
        let text = "# ours\nlisten = \"127.0.0.1:1\" # here\n";
        let (_folder, portals) = portals(&format!("{text}trusted = [\"{}\"]\n", print(1)));
        assert_eq!(portals.change(&change(&[2], &[]), &print(1)).unwrap(), [print(1), print(2)]);
        assert_eq!(portals.change(&change(&[2], &[1]), &print(2)).unwrap(), [print(2)]);
        assert_eq!(portals.change(&change(&[], &[]), &print(2)).unwrap(), [print(2)]);
        assert!(fs::read_to_string(&portals.path).unwrap().starts_with(text));
        assert!(portals.is_portal(&print(2)) && !portals.is_portal(&print(1)));
    }

    #[test]
    fn nobody_can_shut_everybody_or_itself_out() {
        let (_folder, portals) = portals(&format!("trusted = [\"{}\", \"{}\"]", print(1), print(2)));
        for change in [change(&[], &[1, 2]), change(&[3], &[1, 2, 3]), change(&[], &[1]), change(&[3], &[1, 3])] {
            assert_eq!(portals.change(&change, &print(1)).unwrap_err().kind, RefusalKind::LastTrust, "{change:?}");
        }
        portals.change(&change(&[], &[2]), &print(1)).unwrap();
        portals.change(&change(&[3], &[1]), &print(1)).unwrap();
        assert_eq!(portals.settings().trusted, [print(3)]);
    }
}
