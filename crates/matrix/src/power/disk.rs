//! A model of a disk that loses power: what was synced is there afterwards, and of the rest any part may be.
//!
//! A file's bytes and mode are safe once the file was synced, a name once its folder was. Syncing a file does not save
//! its name. Names change one call at a time: a rename is there or not, never half of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::record::Op;

/// Pending changes of names whose every subset is tried. Of more, it is none, all, each alone and all but each.
const SUBSETS_MAX: usize = 5;

type Id = usize;

/// A name in a folder, and what it stands for. The folder is told by its number, so that what was made safe in it stays
/// so, whatever becomes of the folder's own name.
type Names = BTreeMap<(Id, OsString), Id>;

/// The number of the root.
const ROOT: Id = 0;

/// A file or folder.
#[derive(Clone, Debug)]
struct Node {
    is_folder: bool,
    now: Content,
    /// As it was when it was synced last.
    safe: Content,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    bytes: Vec<u8>,
    mode: u32,
}

/// One call's changes of names, all or nothing: each name, and what it stands for then.
type Change = Vec<((Id, OsString), Option<Id>)>;

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    nodes: Vec<Node>,
    /// The names as programs see them.
    now: Names,
    /// The names that are safe.
    safe: Names,
    /// What happened to names since, in order.
    pending: Vec<Change>,
}

/// What is on the disk when the power is back: each path with its mode, and its bytes if it is a file.
pub type Tree = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

impl Disk {
    /// Everything below a folder, safe.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut disk = Self::default();
        disk.take_in(root, None)?;
        disk.safe = disk.now.clone();
        Ok(disk)
    }

    fn take_in(&mut self, path: &Path, name: Option<(Id, OsString)>) -> anyhow::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        let bytes = if metadata.is_dir() { Vec::new() } else { fs::read(path)? };
        let content = Content { bytes, mode: metadata.permissions().mode() & 0o7777 };
        let id = self.add(Node { is_folder: metadata.is_dir(), now: content.clone(), safe: content });
        self.now.extend(name.map(|name| (name, id)));
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                self.take_in(&entry.path(), Some((id, entry.file_name())))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Does what a program did.
    pub fn play(&mut self, op: &Op) -> anyhow::Result<()> {
        match op {
            Op::Open { path, mode, truncate } => match self.id(path) {
                Ok(id) if *truncate => self.nodes[id].now.bytes.clear(),
                Ok(_) => {}
                Err(_) => self.make(path, *mode, false)?,
            },
            Op::Mkdir { path, mode } => self.make(path, *mode, true)?,
            Op::Append { path, bytes } => self.node(path)?.now.bytes.extend_from_slice(bytes),
            Op::Truncate { path, length } => self.node(path)?.now.bytes.resize(*length, 0),
            Op::Chmod { path, mode } => self.node(path)?.now.mode = *mode,
            Op::Rename { from, to } => {
                let id = self.id(from)?;
                self.change(vec![(self.name(from)?, None), (self.name(to)?, Some(id))]);
            }
            Op::Exchange { one, other } => {
                let (id, id_other) = (self.id(one)?, self.id(other)?);
                self.change(vec![(self.name(one)?, Some(id_other)), (self.name(other)?, Some(id))]);
            }
            Op::Remove { path } => {
                self.id(path)?;
                self.change(vec![(self.name(path)?, None)]);
            }
            Op::Sync { path } => self.sync(path)?,
            Op::Launch => {}
        }
        Ok(())
    }

    fn id(&self, path: &Path) -> anyhow::Result<Id> {
        path.iter()
            .try_fold(ROOT, |id, name| self.now.get(&(id, name.to_owned())).copied())
            .with_context(|| format!("the recording names {}, which is not there", path.display()))
    }

    /// The folder that a path lies in, and its name there.
    fn name(&self, path: &Path) -> anyhow::Result<(Id, OsString)> {
        let name = path.file_name().context("the root has no name")?;
        Ok((self.id(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    fn node(&mut self, path: &Path) -> anyhow::Result<&mut Node> {
        let id = self.id(path)?;
        Ok(&mut self.nodes[id])
    }

    fn make(&mut self, path: &Path, mode: u32, is_folder: bool) -> anyhow::Result<()> {
        let now = Content { bytes: Vec::new(), mode };
        let name = self.name(path)?;
        let id = self.add(Node { is_folder, now: now.clone(), safe: now });
        self.change(vec![(name, Some(id))]);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn sync(&mut self, path: &Path) -> anyhow::Result<()> {
        let id = self.id(path)?;
        self.nodes[id].safe = self.nodes[id].now.clone();
        for change in std::mem::take(&mut self.pending) {
            let inside = change.iter().filter(|((folder, _), _)| *folder == id).count();
            ensure!(inside == 0 || inside == change.len(), "a rename from one folder to another is not modelled");
            if inside > 0 {
                apply(&mut self.safe, &change);
            } else {
                self.pending.push(change);
            }
        }
        Ok(())
    }

    /// Every state that the disk may be in when the power is back, each once.
    pub fn after_power_cut(&self) -> Vec<Tree> {
        let mut trees = Vec::new();
        for kept in subsets(self.pending.len()) {
            let mut names = self.safe.clone();
            self.pending.iter().zip(&kept).filter(|(_, kept)| **kept).for_each(|(change, _)| apply(&mut names, change));
            let dirty: Vec<_> =
                (0..self.nodes.len()).filter(|id| self.nodes[*id].now != self.nodes[*id].safe).collect();
            let mut fates = vec![Fate::Lost, Fate::Torn, Fate::Kept];
            fates.extend(dirty.iter().flat_map(|id| [Fate::LostAlone(*id), Fate::KeptAlone(*id)]));
            let new = fates.into_iter().map(|fate| self.tree(&names, fate));
            for tree in new {
                if !trees.contains(&tree) {
                    trees.push(tree);
                }
            }
        }
        trees
    }

    fn tree(&self, names: &Names, fate: Fate) -> Tree {
        let mut tree = Tree::new();
        let mut left = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = left.pop() {
            let node = &self.nodes[id];
            let content = self.content(id, fate);
            tree.insert(path.clone(), (content.mode, (!node.is_folder).then_some(content.bytes)));
            let inside = names.range((id, OsString::new())..).take_while(|((folder, _), _)| *folder == id);
            left.extend(inside.map(|((_, name), id)| (path.join(name), *id)));
        }
        tree
    }

    fn content(&self, id: Id, fate: Fate) -> Content {
        let Node { now, safe, .. } = &self.nodes[id];
        match fate {
            Fate::Kept => now.clone(),
            Fate::KeptAlone(kept) if kept == id => now.clone(),
            Fate::LostAlone(lost) if lost != id => now.clone(),
            Fate::Torn if now.bytes.len() > safe.bytes.len() => {
                let half = usize::midpoint(safe.bytes.len(), now.bytes.len());
                Content { bytes: now.bytes[..half].to_vec(), mode: now.mode }
            }
            Fate::Lost | Fate::Torn | Fate::LostAlone(_) | Fate::KeptAlone(_) => safe.clone(),
        }
    }
}

/// What becomes of bytes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    /// Half of what was added is there.
    Torn,
    Kept,
    /// Of one file.
    LostAlone(Id),
    KeptAlone(Id),
}

fn apply(names: &mut Names, change: &Change) {
    for (name, id) in change {
        match id {
            Some(id) => _ = names.insert(name.clone(), *id),
            None => _ = names.remove(name),
        }
    }
}

/// Which of `count` pending changes are kept.
fn subsets(count: usize) -> Vec<Vec<bool>> {
    if count <= SUBSETS_MAX {
        return (0..1_u32 << count).map(|bits| (0..count).map(|index| bits >> index & 1 == 1).collect()).collect();
    }
    let mut subsets = vec![vec![false; count], vec![true; count]];
    for one in 0..count {
        subsets.push((0..count).map(|index| index == one).collect());
        subsets.push((0..count).map(|index| index != one).collect());
        // Written in order up to here.
        subsets.push((0..count).map(|index| index < one).collect());
    }
    subsets
}

/// Puts what was left on a real disk.
pub fn materialise(tree: &Tree, root: &Path) -> anyhow::Result<()> {
    for (path, (_, bytes)) in tree {
        let path = root.join(path);
        match bytes {
            Some(bytes) => fs::write(path, bytes)?,
            None => fs::create_dir_all(path)?,
        }
    }
    for (path, (mode, _)) in tree.iter().rev() {
        fs::set_permissions(root.join(path), Permissions::from_mode(*mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        let mut disk = Disk::default();
        disk.add(Node { is_folder: true, now: Content::default(), safe: Content::default() });
        disk
    }

    fn open(path: &str) -> Op {
        Op::Open { path: path.into(), mode: 0o644, truncate: false }
    }

    fn append(path: &str, text: &str) -> Op {
        Op::Append { path: path.into(), bytes: text.into() }
    }

    fn sync(path: &str) -> Op {
        Op::Sync { path: path.into() }
    }

    /// What the file may hold after a power cut; `None` is no file.
    fn may_hold(disk: &Disk, path: &str) -> Vec<Option<String>> {
        let text = |tree: &Tree| {
            tree.get(Path::new(path)).map(|(_, bytes)| String::from_utf8(bytes.clone().unwrap()).unwrap())
        };
        let mut all: Vec<_> = disk.after_power_cut().iter().map(text).collect();
        all.sort();
        all.dedup();
        all
    }

    #[test]
    fn what_was_not_synced_may_be_lost_torn_or_there() {
        let mut disk = disk();
        for op in [open("a"), append("a", "1234")] {
            disk.play(&op).unwrap();
        }
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(may_hold(&disk, "a"), [None, some(""), some("12"), some("1234")]);
        disk.play(&sync("a")).unwrap();
        assert_eq!(may_hold(&disk, "a"), [None, some("1234")]);
        disk.play(&sync("")).unwrap();
        assert_eq!(may_hold(&disk, "a"), [some("1234")]);
    }

    #[test]
    fn a_rename_is_there_or_not_and_shows_a_file_that_was_not_synced() {
        let mut disk = disk();
        for op in [open("a"), append("a", "old"), sync("a"), sync(""), open("b"), append("b", "new")] {
            disk.play(&op).unwrap();
        }
        disk.play(&Op::Rename { from: "b".into(), to: "a".into() }).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(may_hold(&disk, "a"), [some(""), some("n"), some("new"), some("old")]);
        disk.play(&sync("a")).unwrap();
        assert_eq!(may_hold(&disk, "a"), [some("new"), some("old")]);
    }

    #[test]
    fn a_folder_moves_with_what_was_synced_in_it() {
        let mut disk = disk();
        let mkdir = |path: &str| Op::Mkdir { path: path.into(), mode: 0o755 };
        for op in [mkdir("i"), open("i/f"), append("i/f", "x"), sync("i/f"), sync("i")] {
            disk.play(&op).unwrap();
        }
        disk.play(&Op::Rename { from: "i".into(), to: "v".into() }).unwrap();
        disk.play(&sync("")).unwrap();
        assert_eq!(may_hold(&disk, "v/f"), [Some("x".to_owned())]);
        assert_eq!(may_hold(&disk, "i/f"), [None]);
    }

    #[test]
    fn what_was_left_is_put_on_a_real_disk_as_it_was() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("d")).unwrap();
        fs::write(from.path().join("d/f"), "x").unwrap();
        let trees = Disk::read(from.path()).unwrap().after_power_cut();
        assert_eq!(trees.len(), 1);
        materialise(&trees[0], to.path()).unwrap();
        assert_eq!(Disk::read(to.path()).unwrap().after_power_cut(), trees);
    }
}
