//! The log of a ticket on the disk: one JSON object a line, numbered from 1.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use octopus_proto::{LOG_LINE_MAX, LogLevel, LogLine, PROGRESS_LINES_MAX};
use serde::{Deserialize, Serialize};

use crate::agent::now_micros;
use crate::sys;

/// Most bytes of a log. At the limit one line says so, and of what follows only errors are kept: they are Tentacle's own
/// words on how the work ended, never a script's.
const LOG_MAX: u64 = 16 << 20;

/// Most bytes of such errors; then they are thrown away too.
const LOG_END: u64 = 1 << 20;

/// Longest line in the file: every byte of the text may take six in JSON.
const FILE_LINE_MAX: u64 = 6 * LOG_LINE_MAX as u64 + 1024;

const FULL: &str = "the log is full: the rest of the output is not kept";

const DAMAGED: &str = "the log is damaged from here on";

/// An open log.
pub(super) struct LogFile {
    /// Read and written by this one handle, so that it stays whole even when somebody deletes the file's name. `None`:
    /// there is no file to be had, and nothing is kept.
    file: Option<File>,
    size: u64,
    last: u64,
    full: bool,
    /// Lines that could not be written, on a full disk for example; the next one that can be tells of them.
    lost: u64,
    /// Where the line after a sequence number begins: a reader mostly goes on where it was.
    hint: (u64, u64),
}

#[derive(Deserialize, Serialize)]
struct Line<'a> {
    seq: u64,
    at: i64,
    level: Level,
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Info,
    Warning,
    Error,
}

impl LogFile {
    /// A new log, where there is none.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::of(Some(sys::private(&mut OpenOptions::new()).read(true).append(true).create_new(true).open(path)?)))
    }

    /// Opens the log of an earlier process. A last line that was not written whole is cut off.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        let mut file = sys::private(&mut OpenOptions::new()).read(true).append(true).create(true).open(path)?;
        let (mut size, mut last) = (0, 0);
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.by_ref().take(FILE_LINE_MAX).read_until(b'\n', &mut line)? as u64;
            let Ok(Line { seq, .. }) = serde_json::from_slice(&line) else { break };
            if !line.ends_with(b"\n") || seq != last + 1 {
                break;
            }
            size += read;
            last = seq;
        }
        file.set_len(size)?;
        Ok(Self { size, last, full: size >= LOG_MAX, ..Self::of(Some(file)) })
    }

    /// Stands in for a log that cannot be opened.
    pub(super) fn lost() -> Self {
        Self::of(None)
    }

    fn of(file: Option<File>) -> Self {
        Self { file, size: 0, last: 0, full: false, lost: 0, hint: (0, 0) }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// True while the last words are missing from it.
    pub(super) fn has_gap(&self) -> bool {
        self.lost > 0
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }

    /// Writes lines with one call to the system. A text that is too long goes on in the next line.
    pub(super) fn append(&mut self, lines: &mut dyn Iterator<Item = (LogLevel, &str)>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        let (mut last, mut count) = (self.last, 0);
        if self.lost > 0 {
            let text = format!("{} lines of the output are missing here: they could not be written", self.lost);
            last = write_line(&mut bytes, last, LogLevel::Warning, &text)?;
        }
        for (level, text) in lines {
            for text in pieces(text) {
                let size = self.size + bytes.len() as u64;
                if self.full && (level != LogLevel::Error || size + FILE_LINE_MAX > LOG_MAX + LOG_END) {
                    continue;
                }
                last = write_line(&mut bytes, last, level, text)?;
                count += 1;
                if !self.full && size >= LOG_MAX {
                    self.full = true;
                    last = write_line(&mut bytes, last, LogLevel::Warning, FULL)?;
                }
            }
        }
        if let Err(error) = file.write_all(&bytes) {
            self.lost += count;
            // A half-written line would spoil all that follow.
            file.set_len(self.size)?;
            return Err(error);
        }
        self.lost = 0;
        self.size += bytes.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Some lines after a sequence number.
    pub(super) fn read(&mut self, after: u64) -> io::Result<Vec<LogLine>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let (mut seq, mut offset) = if after >= self.hint.0 { self.hint } else { (0, 0) };
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(offset))?;
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        while seq < self.last && lines.len() < PROGRESS_LINES_MAX {
            line.clear();
            offset += reader.by_ref().take(FILE_LINE_MAX).read_until(b'\n', &mut line)? as u64;
            let Ok(Line { seq: found, at, level, text }) = serde_json::from_slice(&line) else {
                // Somebody cut or changed it. Whoever watches must come to the end all the same.
                (seq, offset) = (self.last, self.size);
                lines.push(LogLine { seq, at: now_micros(), level: LogLevel::Warning, text: DAMAGED.to_owned() });
                break;
            };
            seq = found;
            if seq > after {
                lines.push(LogLine { seq, at, level: level.into(), text: text.into_owned() });
            }
        }
        self.hint = (seq, offset);
        Ok(lines)
    }
}

fn write_line(bytes: &mut Vec<u8>, last: u64, level: LogLevel, text: &str) -> io::Result<u64> {
    let seq = last + 1;
    serde_json::to_writer(&mut *bytes, &Line { seq, at: now_micros(), level: level.into(), text: text.into() })?;
    bytes.push(b'\n');
    Ok(seq)
}

/// A text in pieces that a line can hold.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= LOG_LINE_MAX {
            return Some(text);
        }
        let (piece, more) = text.split_at(text.floor_char_boundary(LOG_LINE_MAX));
        rest = Some(more);
        Some(piece)
    })
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Info => Self::Info,
            LogLevel::Warning => Self::Warning,
            LogLevel::Error => Self::Error,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut LogFile, texts: &[&str]) {
        log.append(&mut texts.iter().map(|text| (LogLevel::Warning, *text))).unwrap();
    }

    fn read_all(log: &mut LogFile) -> Vec<LogLine> {
        let mut lines: Vec<LogLine> = Vec::new();
        loop {
            let more = log.read(lines.last().map_or(0, |line| line.seq)).unwrap();
            if more.is_empty() {
                return lines;
            }
            lines.extend(more);
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written_from_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::create(&folder.path().join("log")).unwrap();
        let texts: Vec<_> = (0..450).map(|i| format!("line {i} \"\\ é\u{1}")).collect();
        for text in &texts {
            append(&mut log, &[text]);
        }
        let lines = read_all(&mut log);
        assert_eq!(lines.iter().map(|line| &line.text).collect::<Vec<_>>(), texts.iter().collect::<Vec<_>>());
        assert_eq!(log.read(0).unwrap().len(), PROGRESS_LINES_MAX);
        assert_eq!(log.read(448).unwrap()[0].seq, 449);
        assert!(log.read(450).unwrap().is_empty() && log.read(9999).unwrap().is_empty());
        assert_eq!(log.read(3).unwrap()[0].seq, 4);
    }

    #[test]
    fn a_line_that_was_not_written_whole_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&mut LogFile::create(&path).unwrap(), &["one", "two"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 3);
        std::fs::write(&path, bytes).unwrap();
        let mut log = LogFile::load(&path).unwrap();
        append(&mut log, &["three"]);
        let texts: Vec<_> = read_all(&mut log).into_iter().map(|line| (line.seq, line.text)).collect();
        assert_eq!(texts, [(1, "one".to_owned()), (2, "three".to_owned())]);
    }

    #[test]
    fn lines_that_a_full_disk_did_not_take_are_counted_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::create(&folder.path().join("log")).unwrap();
        append(&mut log, &["one"]);
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let file = log.file.replace(full);
        for _ in 0..3 {
            assert!(log.append(&mut [(LogLevel::Info, "a"), (LogLevel::Info, "b")].into_iter()).is_err());
            assert!(log.has_gap() && log.last() == 1);
        }
        log.file = file;
        append(&mut log, &["two"]);
        let texts: Vec<_> = read_all(&mut log).into_iter().map(|line| (line.seq, line.text)).collect();
        let gap = "6 lines of the output are missing here: they could not be written";
        assert_eq!(texts, [(1, "one".to_owned()), (2, gap.to_owned()), (3, "two".to_owned())]);
        assert!(!log.has_gap());
    }

    #[test]
    fn a_long_text_goes_on_in_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::create(&folder.path().join("log")).unwrap();
        let text = "é".repeat(LOG_LINE_MAX);
        append(&mut log, &[&text, ""]);
        let lines = read_all(&mut log);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<String>(), text);
    }

    #[test]
    fn a_full_log_says_so_and_still_takes_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::create(&path).unwrap();
        let text = "x".repeat(LOG_LINE_MAX);
        for _ in 0..1100 {
            append(&mut log, &[&text]);
        }
        assert!(log.size < LOG_MAX + LOG_END);
        log.append(&mut std::iter::once((LogLevel::Error, "it failed"))).unwrap();
        let texts: Vec<_> = read_all(&mut log).into_iter().map(|line| line.text).collect();
        assert_eq!(texts[texts.len() - 2..], [FULL, "it failed"]);
        assert_eq!(LogFile::load(&path).unwrap().last(), log.last());
    }
}
