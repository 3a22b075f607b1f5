//! The policy for names in a package: percent-decoding, and what is refused. Pure; called for every entry.
//!
//! The rules are those of the strictest platform, so that a package means the same on every machine of a fleet.

use contract::Home;

use crate::error::Refusal;

/// Longest part of a name in bytes, as on Linux file systems.
const PART_BYTES: usize = 255;

/// Longest name in bytes. Beyond it, a path in a home folder could become too long for the system.
const NAME_BYTES: usize = 1024;

/// Names that are devices in every folder on Windows, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// A name of an entry that is safe on every platform: relative, `/` between its parts, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryName {
    pub(crate) path: String,
    pub(crate) is_folder: bool,
}

impl EntryName {
    /// Reads a name as it stands in the archive.
    pub(crate) fn read(raw: &[u8]) -> Result<Self, Refusal> {
        let raw = std::str::from_utf8(raw).map_err(|_| Refusal::NotUtf8)?;
        let decoded = percent_decode(raw)?;
        let (path, is_folder) = match decoded.strip_suffix('/') {
            Some(path) => (path, true),
            None => (decoded.as_str(), false),
        };
        check(path)?;
        Ok(Self { path: path.to_owned(), is_folder })
    }

    /// The form in which names are compared: they must differ in more than case.
    pub(crate) fn key(&self) -> String {
        self.path.to_lowercase()
    }
}

/// Decodes every `%XX`; a percent sign without two digits stays as it is, because older tools wrote it so.
fn percent_decode(raw: &str) -> Result<String, Refusal> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match digits.and_then(hex_byte) {
            Some(b'/') => return Err(Refusal::HiddenSlash),
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| Refusal::NotUtf8)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(*digits.first()?)? * 16 + digit(*digits.get(1)?)?) as u8)
}

fn check(path: &str) -> Result<(), Refusal> {
    if path.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    if path.len() > NAME_BYTES {
        return Err(Refusal::TooLong);
    }
    if path.eq_ignore_ascii_case(Home::MANIFEST) {
        return Err(Refusal::Reserved);
    }
    path.split('/').try_for_each(check_part)
}

fn check_part(part: &str) -> Result<(), Refusal> {
    let refusal = match part {
        "" => Refusal::EmptyPart,
        "." | ".." => Refusal::Traversal,
        _ if part.contains('\\') => Refusal::Backslash,
        _ if part.contains(':') => Refusal::Colon,
        _ if part.chars().any(char::is_control) => Refusal::Control,
        _ if part.ends_with(['.', ' ']) => Refusal::TrailingDotOrSpace,
        _ if part.len() > PART_BYTES => Refusal::TooLong,
        _ if is_device(part) => Refusal::Device,
        _ => return Ok(()),
    };
    Err(refusal)
}

/// True for `con`, `AUX.txt`, `nul .log`, `com1`, `LPT¹`.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end_matches(' ').to_lowercase();
    if DEVICES.contains(&stem.as_str()) {
        return true;
    }
    let number = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let mut digits = number.unwrap_or_default().chars();
    matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// Checks the names of a package against each other. Returns how many folders they need at most, or the index of a name
/// that cannot be unpacked together with one before it.
///
/// In the order of their parts, what lies in a folder comes right after it, so that neighbours tell everything: memory
/// stays that of the names, however deep they are.
pub(crate) fn check_together(names: &[EntryName]) -> Result<u64, (usize, Refusal)> {
    let mut keys: Vec<_> = names.iter().map(EntryName::key).enumerate().collect();
    keys.sort_by(|(i, a), (j, b)| a.split('/').cmp(b.split('/')).then(i.cmp(j)));
    let mut folders = 0;
    let mut before: Option<&(usize, String)> = None;
    for this in &keys {
        let name = &names[this.0];
        let parts = name.path.split('/').count() - usize::from(!name.is_folder);
        let mut shared = 0;
        if let Some(before) = before {
            check_pair(names, before, this).map_err(|refusal| (before.0.max(this.0), refusal))?;
            let pairs = names[before.0].path.split('/').zip(name.path.split('/'));
            shared = pairs.take_while(|(a, b)| a == b).count().min(parts);
        }
        folders += (parts - shared) as u64;
        before = Some(this);
    }
    Ok(folders)
}

fn check_pair(names: &[EntryName], (i, a): &(usize, String), (j, b): &(usize, String)) -> Result<(), Refusal> {
    let (first_is_folder, second_is_folder) = (names[*i].is_folder, names[*j].is_folder);
    match b.strip_prefix(a.as_str()) {
        Some("") if first_is_folder && second_is_folder => Ok(()),
        Some("") if !first_is_folder && !second_is_folder => Err(Refusal::Duplicate),
        Some("") => Err(Refusal::FileAndFolder),
        Some(rest) if rest.starts_with('/') && !first_is_folder => Err(Refusal::FileAndFolder),
        _ => Ok(()),
    }
}

/// Percent-encodes a name for a package: everything but letters, digits, `-._~` and the slashes between parts.
pub(crate) fn percent_encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Result<String, Refusal> {
        EntryName::read(name.as_bytes()).map(|name| name.path)
    }

    #[test]
    fn names_are_percent_decoded_leniently() {
        let table = [
            ("a/b.txt", "a/b.txt"),
            ("name%20with%20space%2Bplus.txt", "name with space+plus.txt"),
            ("%5Bbrackets%5D %26 é.config", "[brackets] & é.config"),
            ("caf%C3%A9", "café"),
            ("100%", "100%"),
            ("50%zz%4", "50%zz%4"),
            ("%252e%252e", "%2e%2e"),
            ("folder/", "folder"),
            ("..a/b..c", "..a/b..c"),
            ("console/auxiliary.txt", "console/auxiliary.txt"),
            ("com/lpt10/com", "com/lpt10/com"),
        ];
        for (raw, path) in table {
            assert_eq!(read(raw).as_deref(), Ok(path), "{raw}");
            assert_eq!(read(&percent_encode(path)).as_deref(), Ok(path), "{path} is read as it is written");
        }
    }

    #[test]
    fn dangerous_names_are_refused() {
        let long = "a".repeat(256);
        let longer = "a/".repeat(512) + "aa";
        let table = [
            ("", Refusal::EmptyPart),
            ("/", Refusal::EmptyPart),
            ("a//b", Refusal::EmptyPart),
            ("a//", Refusal::EmptyPart),
            ("/etc/passwd", Refusal::Absolute),
            ("//server/share", Refusal::Absolute),
            ("../x", Refusal::Traversal),
            ("a/../../x", Refusal::Traversal),
            ("a/..", Refusal::Traversal),
            ("./x", Refusal::Traversal),
            ("%2e%2e/x", Refusal::Traversal),
            ("%2E./x", Refusal::Traversal),
            ("a%2fb", Refusal::HiddenSlash),
            ("..%2Fx", Refusal::HiddenSlash),
            ("..\\x", Refusal::Backslash),
            ("..%5Cx", Refusal::Backslash),
            ("C:\\x", Refusal::Backslash),
            ("C:/x", Refusal::Colon),
            ("a%3Ab", Refusal::Colon),
            ("a\nb", Refusal::Control),
            ("a%00b", Refusal::Control),
            ("a\u{7f}", Refusal::Control),
            ("con", Refusal::Device),
            ("a/AUX.txt", Refusal::Device),
            ("nul .log", Refusal::Device),
            ("Com1.tar.gz", Refusal::Device),
            ("lpt²", Refusal::Device),
            ("%6Eul", Refusal::Device),
            ("prn/x", Refusal::Device),
            ("x.", Refusal::TrailingDotOrSpace),
            ("x /y", Refusal::TrailingDotOrSpace),
            ("x%20", Refusal::TrailingDotOrSpace),
            (".Octopus-Package", Refusal::Reserved),
            ("%FF", Refusal::NotUtf8),
            (&long, Refusal::TooLong),
            (&longer, Refusal::TooLong),
        ];
        for (name, refusal) in table {
            assert_eq!(read(name), Err(refusal), "{name:?}");
        }
        assert_eq!(EntryName::read(b"caf\xe9"), Err(Refusal::NotUtf8));
    }

    fn together(names: &[&str]) -> Result<u64, (usize, Refusal)> {
        check_together(&names.iter().map(|name| EntryName::read(name.as_bytes()).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn two_names_that_cannot_both_be_unpacked_are_found() {
        assert_eq!(together(&["Web.config", "b", "web.CONFIG"]), Err((2, Refusal::Duplicate)));
        assert_eq!(together(&["É", "é"]), Err((1, Refusal::Duplicate)));
        assert_eq!(together(&["a b", "a%20b"]), Err((1, Refusal::Duplicate)));
        assert_eq!(together(&["a", "a-b", "a.b", "A/b", "a0"]), Err((3, Refusal::FileAndFolder)));
        assert_eq!(together(&["a/b/c", "a/B"]), Err((1, Refusal::FileAndFolder)));
        assert_eq!(together(&["a/b/c/d", "a/b/c/e", "a"]), Err((2, Refusal::FileAndFolder)));
        assert_eq!(together(&["a/", "a"]), Err((1, Refusal::FileAndFolder)));
        assert_eq!(together(&["a", "a/"]), Err((1, Refusal::FileAndFolder)));
    }

    #[test]
    fn the_folders_that_names_need_are_counted() {
        assert_eq!(together(&[]), Ok(0));
        assert_eq!(together(&["a", "b"]), Ok(0));
        assert_eq!(together(&["a", "b/a", "b/c", "b/", "b/d/e/f", "b/d/g"]), Ok(3));
        assert_eq!(together(&["b/", "b/", "b/c/"]), Ok(2));
        assert_eq!(together(&["Bin/a", "bin/b"]), Ok(2), "two folders on a file system that knows case");
    }
}
