//! What a program did to its home folder, read from a recording of its system calls.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The calls that a recording holds: all that change a disk or make it safe, and those that start a program.
pub const FILTER: &str = "trace=?open,openat,?creat,?mkdir,mkdirat,write,pwrite64,writev,ftruncate,fallocate,fsync,fdatasync,\
                          syncfs,?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir,?chmod,fchmod,\
                          fchmodat,copy_file_range,sendfile,clone,clone3,?vfork";

/// One thing that was done. Paths are below the home folder; the folder itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A file was opened, and made if it was not there.
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode if it was made.
        mode: u32,
        /// Emptied if it was there.
        truncate: bool,
    },
    /// A folder was made.
    Mkdir {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Bytes were written at the end of a file.
    Append {
        /// The file.
        path: PathBuf,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A file was made so long.
    Truncate {
        /// The file.
        path: PathBuf,
        /// In bytes.
        length: usize,
    },
    /// A file or folder got another mode.
    Chmod {
        /// The file or folder.
        path: PathBuf,
        /// The mode.
        mode: u32,
    },
    /// A name was given to what had another one, in place of what had it.
    Rename {
        /// The former name.
        from: PathBuf,
        /// The name.
        to: PathBuf,
    },
    /// Two names were swapped.
    Exchange {
        /// The one.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A file or an empty folder was removed.
    Remove {
        /// Its name.
        path: PathBuf,
    },
    /// A file, or the names in a folder, were made safe.
    Sync {
        /// The file or folder.
        path: PathBuf,
    },
    /// A program was started.
    Launch,
}

/// Reads what was done below `home`, in order. A call that is not understood is an error, so that nothing is missed.
pub fn read(log: &str, home: &Path) -> anyhow::Result<Vec<Op>> {
    let mut ops = Vec::new();
    for line in log.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let Some((arguments, result)) = rest.rsplit_once(") = ") else { continue };
        if result.starts_with('-') || result.starts_with('?') || name.contains(' ') {
            continue;
        }
        let call = Call { home, arguments: &split(arguments) };
        ops.extend(call.op(name).with_context(|| format!("cannot understand the call {name}({arguments})"))?);
    }
    Ok(ops)
}

struct Call<'a> {
    home: &'a Path,
    arguments: &'a [String],
}

impl Call<'_> {
    fn op(&self, name: &str) -> anyhow::Result<Option<Op>> {
        if matches!(name, "clone" | "clone3" | "vfork") {
            return Ok(Some(Op::Launch));
        }
        let at = usize::from(name.ends_with("at") || name == "renameat2");
        let Some(path) = (match name {
            "write" | "pwrite64" | "writev" | "ftruncate" | "fallocate" | "fsync" | "fdatasync" | "syncfs"
            | "fchmod" | "copy_file_range" | "sendfile" => self.opened(0)?,
            _ => self.named(at)?,
        }) else {
            return Ok(None);
        };
        let op = match name {
            "open" | "openat" => {
                let flags = self.text(at + 1)?;
                if !flags.contains("O_CREAT") {
                    return Ok(None);
                }
                Op::Open { path, mode: self.mode(at + 2)?, truncate: flags.contains("O_TRUNC") }
            }
            "mkdir" | "mkdirat" => Op::Mkdir { path, mode: self.mode(at + 1)? },
            "write" => Op::Append { path, bytes: unescape(self.text(1)?)? },
            "ftruncate" => Op::Truncate { path, length: self.text(1)?.parse()? },
            "fsync" | "fdatasync" => Op::Sync { path },
            "chmod" | "fchmod" | "fchmodat" => Op::Chmod { path, mode: self.mode(at + 1)? },
            "unlink" | "rmdir" | "unlinkat" => Op::Remove { path },
            "rename" | "renameat" | "renameat2" => {
                let to = self.named(if at == 0 { 1 } else { 3 })?.context("a rename out of the home folder")?;
                match self.arguments.get(4).map(String::as_str) {
                    Some("RENAME_EXCHANGE") => Op::Exchange { one: path, other: to },
                    None | Some("RENAME_NOREPLACE" | "0") => Op::Rename { from: path, to },
                    Some(flags) => bail!("a rename with {flags}"),
                }
            }
            other => bail!("{other} is not modelled"),
        };
        Ok(Some(op))
    }

    fn text(&self, index: usize) -> anyhow::Result<&str> {
        Ok(self.arguments.get(index).context("an argument is missing")?)
    }

    fn mode(&self, index: usize) -> anyhow::Result<u32> {
        Ok(u32::from_str_radix(self.text(index)?, 8)?)
    }

    /// The path of an open file, `5</home/f>`; `None` outside the home folder.
    fn opened(&self, index: usize) -> anyhow::Result<Option<PathBuf>> {
        Ok(self.below(&opened_path(self.text(index)?)))
    }

    /// A path that is written out. One after a folder that is open is below that.
    fn named(&self, index: usize) -> anyhow::Result<Option<PathBuf>> {
        let path = PathBuf::from(String::from_utf8(unescape(self.text(index)?)?)?);
        let base = index.checked_sub(1).map(|before| opened_path(&self.arguments[before])).unwrap_or_default();
        Ok(self.below(&base.join(path)))
    }

    fn below(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.home).ok().map(Path::to_path_buf)
    }
}

fn opened_path(argument: &str) -> PathBuf {
    let inside = argument.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
    inside.unwrap_or_default().into()
}

/// Splits arguments at commas that stand in no text and no brackets.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in arguments.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The bytes of a quoted text, as `strace` writes it.
fn unescape(text: &str) -> anyhow::Result<Vec<u8>> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let inner = inner.with_context(|| format!("a text that is cut off or none: {text}"))?.as_bytes();
    let (mut bytes, mut index) = (Vec::new(), 0);
    while let Some(byte) = inner.get(index) {
        index += 1;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let escaped = *inner.get(index).context("an escape at the end")?;
        if (b'0'..b'8').contains(&escaped) {
            let digits = inner[index..].iter().take(3).take_while(|digit| (b'0'..b'8').contains(*digit)).count();
            let value = std::str::from_utf8(&inner[index..index + digits])?;
            bytes.push(u8::from_str_radix(value, 8)?);
            index += digits;
            continue;
        }
        index += 1;
        bytes.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            other => other,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_below_the_home_are_read_and_others_left_out() {
        let log = r#"openat(AT_FDCWD</x>, "/h/a", O_WRONLY|O_CREAT|O_EXCL, 0644) = 5</h/a>
openat(AT_FDCWD</x>, "/h/a", O_RDONLY) = 6</h/a>
write(5</h/a>, "a, \"b\"\0\1771\n", 10) = 10
write(2</l>, "x", 1) = 1
fsync(5</h/a>) = 0
mkdir("/h/d", 0700) = 0
mkdir("/h", 0777) = -1 EEXIST (File exists)
renameat2(AT_FDCWD</x>, "/h/a", AT_FDCWD</x>, "/h/b", RENAME_NOREPLACE) = 0
renameat2(AT_FDCWD</x>, "/h/d", AT_FDCWD</x>, "/h/b", RENAME_EXCHANGE) = 0
rename("/h/d", "/h/e") = 0
unlinkat(7</h/e>, "f", AT_REMOVEDIR) = 0
fsync(4</h>) = 0
clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88) = 7
+++ exited with 0 +++"#;
        let path = PathBuf::from;
        let ops = [
            Op::Open { path: path("a"), mode: 0o644, truncate: false },
            Op::Append { path: path("a"), bytes: b"a, \"b\"\0\x7f1\n".to_vec() },
            Op::Sync { path: path("a") },
            Op::Mkdir { path: path("d"), mode: 0o700 },
            Op::Rename { from: path("a"), to: path("b") },
            Op::Exchange { one: path("d"), other: path("b") },
            Op::Rename { from: path("d"), to: path("e") },
            Op::Remove { path: path("e/f") },
            Op::Sync { path: path("") },
            Op::Launch,
        ];
        assert_eq!(read(log, Path::new("/h")).unwrap(), ops);
        assert!(read("linkat(AT_FDCWD</x>, \"/h/a\", AT_FDCWD</x>, \"/h/b\", 0) = 0", Path::new("/h")).is_err());
    }
}
