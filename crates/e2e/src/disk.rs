//! What lies on the disk of a machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use contract::Home;

/// Everything below a folder: the path from there, and the bytes of a file; folders have none. Empty where nothing is.
pub fn tree(folder: &Path) -> anyhow::Result<BTreeMap<String, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    if folder.exists() {
        walk(folder, folder, &mut found)?;
    }
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Option<Vec<u8>>>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.strip_prefix(root)?.display().to_string();
        if path.symlink_metadata()?.is_dir() {
            found.insert(name, None);
            walk(root, &path, found)?;
        } else {
            found.insert(name, Some(fs::read(&path)?));
        }
    }
    Ok(())
}

/// How many upgrades a machine was ever commanded, by the orders it keeps.
pub fn upgrades_commanded(home: &Home) -> anyhow::Result<usize> {
    let mut number = 0;
    for entry in fs::read_dir(home.work())? {
        // A ticket that is being swept has no order any more.
        let order = fs::read_to_string(entry?.path().join("order")).unwrap_or_default();
        number += usize::from(order.to_lowercase().contains("upgrade"));
    }
    Ok(number)
}
