//! The portal's identities: the one that it calls and serves with, one that is readied for its place, and one that had it
//! before. Files in the data folder, and the same in memory.
//!
//! Invariant: `identity.pem` is there from the first start on and is only ever replaced by one rename, so that whoever is
//! killed leaves a portal with one identity that works.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use contract::Thumbprint;
use octopus_proto::tls::{Identity, IdentityError};

use crate::clock::Timestamp;
use crate::sys;

/// The identity that is in use, in the data folder and in a backup.
pub const CURRENT: &str = "identity.pem";

/// The one that is readied.
pub const NEXT: &str = "identity-next.pem";

/// The one that was in use before, as long as it is kept.
pub const FORMER: &str = "identity-former.pem";

/// The name in every certificate of a portal.
const NAME: &str = "octopus-server";

/// Why an identity was not changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentitiesError {
    /// It cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk refused.
    #[error("cannot {step} {}", path.display())]
    Disk {
        /// What was being done.
        step: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It makes no sense as things stand, in a sentence.
    #[error("{0}")]
    Untimely(&'static str),
}

fn disk(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentitiesError {
    move |source| IdentitiesError::Disk { step, path: path.to_owned(), source }
}

/// The identities at one moment.
#[derive(Clone, Debug)]
pub struct Set {
    /// The one that the portal calls and serves with.
    pub current: Arc<Identity>,
    /// Since when its file is there, as far as the folder knows.
    pub since: Option<Timestamp>,
    /// The one that is readied.
    pub next: Option<Arc<Identity>>,
    /// The one that was in use before.
    pub former: Option<Arc<Identity>>,
}

/// The identities of a portal.
#[derive(Debug)]
pub struct Identities {
    folder: Option<PathBuf>,
    set: RwLock<Set>,
}

impl Identities {
    /// Those in a data folder; the first is made where there is none.
    pub fn open(data_dir: &Path) -> Result<Self, IdentitiesError> {
        let current = Arc::new(Identity::load_or_create(&data_dir.join(CURRENT), NAME)?);
        let mut set = Set { current, since: written_at(&data_dir.join(CURRENT)), next: None, former: None };
        set.next = load(&data_dir.join(NEXT))?;
        set.former = load(&data_dir.join(FORMER))?;
        // A switch or its end was cut off: what is in use is neither before nor after itself.
        let is_current = |other: &Option<Arc<Identity>>| {
            other.as_ref().is_some_and(|other| other.thumbprint() == set.current.thumbprint())
        };
        let (drop_next, drop_former) = (is_current(&set.next), is_current(&set.former));
        if drop_next {
            remove(&data_dir.join(NEXT))?;
            set.next = None;
        }
        if drop_former {
            remove(&data_dir.join(FORMER))?;
            set.former = None;
        }
        Ok(Self { folder: Some(data_dir.to_owned()), set: RwLock::new(set) })
    }

    /// One that is never changed and lies nowhere.
    pub fn only(identity: Arc<Identity>) -> Self {
        Self { folder: None, set: RwLock::new(Set { current: identity, since: None, next: None, former: None }) }
    }

    /// The identities now.
    pub fn set(&self) -> Set {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one that is in use.
    pub fn current(&self) -> Arc<Identity> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// What machines pin.
    pub fn thumbprint(&self) -> Thumbprint {
        self.current().thumbprint()
    }

    /// Readies another identity, beside the one that is in use. One that is readied already stays.
    pub fn ready(&self) -> Result<Thumbprint, IdentitiesError> {
        let folder = self.folder()?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if set.former.is_some() {
            return Err(IdentitiesError::Untimely(
                "the identity before this one is still kept: give that up before you ready another",
            ));
        }
        let next = Identity::load_or_create(&folder.join(NEXT), NAME)?;
        let thumbprint = next.thumbprint();
        set.next = Some(Arc::new(next));
        Ok(thumbprint)
    }

    /// Takes the readied identity away again, and says which it was.
    pub fn abandon(&self) -> Result<Thumbprint, IdentitiesError> {
        let folder = self.folder()?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let next = set.next.clone().ok_or(IdentitiesError::Untimely("no identity is readied"))?;
        remove(&folder.join(NEXT))?;
        set.next = None;
        Ok(next.thumbprint())
    }

    /// Uses the readied identity from now on, and keeps the one before. Returns both thumbprints, the old one first.
    pub fn switch(&self) -> Result<(Thumbprint, Thumbprint), IdentitiesError> {
        let folder = self.folder()?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let next = set.next.clone().ok_or(IdentitiesError::Untimely("no identity is readied"))?;
        let (current, former) = (folder.join(CURRENT), folder.join(FORMER));
        // Under another name first. Cut off here, both are the same, and the start takes the second name away.
        remove(&former)?;
        copy(&current, &former, &folder)?;
        fs::rename(folder.join(NEXT), &current).map_err(disk("rename to", &current))?;
        sys::sync_folder(&folder).map_err(disk("sync the folder", &folder))?;
        let before = std::mem::replace(&mut set.current, next);
        set.since = written_at(&current);
        set.next = None;
        set.former = Some(Arc::clone(&before));
        Ok((before.thumbprint(), set.current.thumbprint()))
    }

    /// Gives up the identity before this one, and says which it was: whoever trusts that alone is out of reach.
    pub fn forget(&self) -> Result<Thumbprint, IdentitiesError> {
        let folder = self.folder()?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let former = set.former.clone().ok_or(IdentitiesError::Untimely("no former identity is kept"))?;
        remove(&folder.join(FORMER))?;
        set.former = None;
        Ok(former.thumbprint())
    }

    fn folder(&self) -> Result<PathBuf, IdentitiesError> {
        self.folder.clone().ok_or(IdentitiesError::Untimely("this identity lies in no folder"))
    }
}

fn load(path: &Path) -> Result<Option<Arc<Identity>>, IdentitiesError> {
    match Identity::load(path) {
        Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(Arc::new(other?))),
    }
}

fn remove(path: &Path) -> Result<(), IdentitiesError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(disk("remove", path))?,
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    sys::sync_folder(folder).map_err(disk("sync the folder", folder))
}

/// Copies a file that only this user may read, complete or not there at all.
fn copy(from: &Path, to: &Path, folder: &Path) -> Result<(), IdentitiesError> {
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(disk("make a file in", folder))?;
    let copied = File::open(from).and_then(|mut source| io::copy(&mut source, &mut file));
    copied.and_then(|_| file.as_file().sync_all()).map_err(disk("copy", from))?;
    file.persist(to).map_err(|error| disk("rename to", to)(error.error))?;
    sys::sync_folder(folder).map_err(disk("sync the folder", folder))
}

/// When a file was written last, as far as its folder knows.
fn written_at(path: &Path) -> Option<Timestamp> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_readied_used_and_the_former_one_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let identities = Identities::open(folder.path()).unwrap();
        let first = identities.thumbprint();
        assert!(identities.switch().is_err() && identities.abandon().is_err() && identities.forget().is_err());
        let next = identities.ready().unwrap();
        assert_eq!(identities.ready().unwrap(), next, "once is enough");
        assert_eq!(Identities::open(folder.path()).unwrap().set().next.unwrap().thumbprint(), next);
        assert_eq!(identities.switch().unwrap(), (first, next));
        assert!(identities.ready().is_err(), "two former ones are not kept");
        let again = Identities::open(folder.path()).unwrap().set();
        assert_eq!((again.current.thumbprint(), again.former.unwrap().thumbprint()), (next, first));
        assert_eq!(identities.forget().unwrap(), first);
        let other = identities.ready().unwrap();
        assert_eq!(identities.abandon().unwrap(), other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the one in use is left");
        assert_eq!(Identities::open(folder.path()).unwrap().thumbprint(), next);
    }

    #[test]
    fn a_switch_that_is_cut_off_is_not_begun_or_done() {
        let folder = tempfile::tempdir().unwrap();
        let identities = Identities::open(folder.path()).unwrap();
        let (first, next) = (identities.thumbprint(), identities.ready().unwrap());
        fs::copy(folder.path().join(CURRENT), folder.path().join(FORMER)).unwrap();
        let cut = Identities::open(folder.path()).unwrap();
        let set = cut.set();
        assert_eq!((set.current.thumbprint(), set.next.unwrap().thumbprint()), (first, next));
        assert!(set.former.is_none() && !folder.path().join(FORMER).exists());
        cut.switch().unwrap();
        assert_eq!(Identities::open(folder.path()).unwrap().thumbprint(), next);
    }
}
