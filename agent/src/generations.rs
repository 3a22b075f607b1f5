//! The highest generation of orders seen from each portal, so that an order that was delayed or repeated by a portal
//! restored from a backup is not carried out. On the disk before anything is done.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::Thumbprint;
use octopus_proto::{Refusal, RefusalKind};

use crate::sys;

/// The generations seen.
pub(crate) struct Generations {
    path: PathBuf,
    /// `Err`: the file could not be read or is damaged, and nobody knows. It is read again at each question.
    seen: Mutex<Result<BTreeMap<String, u64>, String>>,
}

impl Generations {
    /// Reads the file in the folder of the work; one that is not there means none were seen.
    pub(crate) fn open(work: &Path) -> Self {
        let path = work.join("generations.json");
        let seen = read(&path);
        Self { path, seen: Mutex::new(seen) }
    }

    fn seen(&self) -> MutexGuard<'_, Result<BTreeMap<String, u64>, String>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_err() {
            *seen = read(&self.path);
        }
        seen
    }

    /// The highest generation seen from a portal; 0 when there was none.
    pub(crate) fn last(&self, portal: &Thumbprint) -> u64 {
        self.seen().as_ref().ok().and_then(|seen| seen.get(&portal.to_string()).copied()).unwrap_or(0)
    }

    /// What is wrong with the file.
    pub(crate) fn problem(&self) -> Option<String> {
        let why = self.seen().as_ref().err()?.clone();
        let path = self.path.display();
        Some(format!("{path} is damaged, so no upgrade is accepted ({why}): delete it to accept any generation again"))
    }

    /// Refuses a generation that is not higher than the last one.
    pub(crate) fn check(&self, portal: &Thumbprint, generation: u64) -> Result<(), Refusal> {
        if let Some(problem) = self.problem() {
            return Err(Refusal::new(RefusalKind::Internal, problem));
        }
        let last = self.last(portal);
        if generation > last {
            return Ok(());
        }
        let sentence = format!(
            "the order has the generation {generation}, but this machine has seen {last} from this portal: the order is \
             old, or the portal was restored from a backup"
        );
        Err(Refusal::new(RefusalKind::StaleGeneration, sentence))
    }

    /// Records a generation, on the disk. Blocks.
    pub(crate) fn record(&self, portal: &Thumbprint, generation: u64) -> io::Result<()> {
        let mut guard = self.seen();
        let seen = guard.as_mut().map_err(|why| io::Error::other(why.clone()))?;
        let mut next = seen.clone();
        next.insert(portal.to_string(), generation);
        sys::write_durable(&self.path, &serde_json::to_vec_pretty(&next)?)?;
        *seen = next;
        Ok(())
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_kept_per_portal_and_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Thumbprint([1; 32]), Thumbprint([2; 32]));
        let generations = Generations::open(folder.path());
        generations.check(&a, 1).unwrap();
        generations.record(&a, 5).unwrap();
        let generations = Generations::open(folder.path());
        assert_eq!((generations.last(&a), generations.last(&b)), (5, 0));
        assert_eq!(generations.check(&a, 5).unwrap_err().kind, RefusalKind::StaleGeneration);
        generations.check(&a, 6).unwrap();
        generations.check(&b, 1).unwrap();
    }

    #[test]
    fn a_damaged_file_is_a_problem_and_accepts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("generations.json"), "junk").unwrap();
        let generations = Generations::open(folder.path());
        assert!(generations.problem().is_some());
        assert_eq!(generations.check(&Thumbprint([1; 32]), 99).unwrap_err().kind, RefusalKind::Internal);
        assert!(generations.record(&Thumbprint([1; 32]), 99).is_err());
    }

    #[test]
    fn a_file_that_can_be_read_again_is_no_problem_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (path, portal) = (folder.path().join("generations.json"), Thumbprint([1; 32]));
        Generations::open(folder.path()).record(&portal, 5).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, "junk").unwrap();
        let generations = Generations::open(folder.path());
        assert!(generations.problem().is_some());
        std::fs::write(&path, whole).unwrap();
        assert_eq!(generations.problem(), None);
        assert_eq!(generations.last(&portal), 5);
    }
}
