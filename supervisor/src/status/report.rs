//! The text of `suction-cup status`. Pure: facts in, text and exit code out. What is not known is said to be so, and an old
//! note is never told as the present.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use contract::Version;

use super::note::{Note, Process};
use crate::machine::Survey;
use crate::select::{Installed, select};

/// The exit code where a Tentacle runs.
pub const EXIT_RUNS: u8 = 0;

/// The exit code where none runs.
pub const EXIT_RUNS_NOT: u8 = 3;

/// The exit code where that is not known.
pub const EXIT_UNKNOWN: u8 = 4;

/// Who holds the lock on a home folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The process with this number: a Suction Cup.
    Process(u32),
    /// Nobody, as far as the system shows its locks.
    Nobody,
    /// The system does not show its locks.
    Unknown,
}

/// Everything that was looked at.
pub struct Facts<'a> {
    /// The home folder.
    pub home: PathBuf,
    /// Why nothing can be told, if that is so.
    pub readable: Result<(), String>,
    /// Who holds the lock on it.
    pub holder: Holder,
    /// The note, if there is one.
    pub note: Option<Note>,
    /// For how long a process has been running; `None` where it is gone.
    pub age_of: &'a dyn Fn(Process) -> Option<Duration>,
    /// What is installed.
    pub survey: Survey,
    /// The texts of the verdicts.
    pub verdicts: Vec<(Version, String)>,
    /// The last words, if there are any.
    pub last_words: Option<String>,
    /// The system's monotonic clock.
    pub monotonic: Duration,
    /// The time since the epoch.
    pub wall: Duration,
}

/// What is printed, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// For stdout.
    pub text: String,
    /// One of the exit codes above.
    pub exit: u8,
}

/// Makes the report.
pub fn report(facts: &Facts<'_>) -> Report {
    if let Err(why) = &facts.readable {
        let text = format!("cannot look at {}: {}\n", facts.home.display(), printable(why));
        return Report { text, exit: EXIT_UNKNOWN };
    }
    let mut text = String::new();
    let (present, exit) = present(facts);
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    say(&format!("Home folder: {}", facts.home.display()));
    present.iter().for_each(|line| say(line));
    say("");
    installed(facts).iter().for_each(|line| say(line));
    say("");
    match &facts.last_words {
        Some(words) => {
            say("Last words:");
            words.lines().for_each(|line| say(format!("  {}", printable(line)).trim_end()));
        }
        None => say("Last words: none"),
    }
    Report { text, exit }
}

/// What goes on now.
fn present(facts: &Facts<'_>) -> (Vec<String>, u8) {
    let note = facts.note.as_ref();
    // Where the lock cannot be seen, the process that wrote the note is as good: it held the lock when it wrote.
    let writer = note.and_then(|note| note.writer).filter(|writer| (facts.age_of)(*writer).is_some());
    let pid = match (facts.holder, writer) {
        (Holder::Process(pid), _) => pid,
        (_, Some(writer)) => writer.pid,
        (Holder::Nobody, None) => return (at_rest(note), EXIT_RUNS_NOT),
        (Holder::Unknown, None) => {
            return (vec!["Whether Suction Cup runs is not known.".to_owned()], EXIT_UNKNOWN);
        }
    };
    let mut lines = vec![format!("Suction Cup runs as process {pid}.")];
    // An old note, of another Suction Cup, says nothing of this one.
    let Some(note) = note.filter(|_| writer.is_some_and(|writer| writer.pid == pid)) else {
        lines.push("What it does is not known: it could not write it down yet.".to_owned());
        return (lines, EXIT_UNKNOWN);
    };
    let age = note.child.and_then(facts.age_of);
    lines.push(doing(note, age, facts));
    if !note.said.is_empty() {
        lines.push(format!("Its last word: {}", printable(&note.said)));
    }
    let tentacle = matches!(note.doing.as_str(), "Running" | "Ending" | "Checking") && age.is_some();
    (lines, if tentacle { EXIT_RUNS } else { EXIT_RUNS_NOT })
}

fn at_rest(note: Option<&Note>) -> Vec<String> {
    let told = match note {
        Some(note) if note.doing == "Stopped" => " It was told to end.",
        Some(_) => " It was killed, or the machine went down.",
        None => "",
    };
    vec![format!("Suction Cup does not run.{told}")]
}

fn doing(note: &Note, age: Option<Duration>, facts: &Facts<'_>) -> String {
    let version = note.version.as_ref().map_or_else(|| "of an unknown version".to_owned(), Version::to_string);
    let left = note.until.map(|until| span(until.saturating_sub(facts.monotonic)));
    let within = |what: &str| left.as_ref().map_or_else(String::new, |left| format!("{what}{left}"));
    match (note.doing.as_str(), age) {
        ("Running" | "Checking" | "Ending", None) => format!("Tentacle {version} has just ended."),
        ("Running" | "Checking", Some(age)) => {
            let pid = note.child.map_or(0, |child| child.pid);
            let since = moment(facts.wall.saturating_sub(age));
            let proof = within("; it must be proven within ");
            format!("Tentacle {version} runs as process {pid} since {since} ({}){proof}.", span(age))
        }
        ("Ending", Some(_)) => format!("Tentacle {version} was told to end{}.", within("; it is killed in ")),
        ("Waiting", _) => format!("No Tentacle runs: waiting{}.", within(" until the next try, in ")),
        ("Installing", _) => format!("The bundled version {version} is being installed."),
        _ => "No Tentacle runs just now.".to_owned(),
    }
}

fn installed(facts: &Facts<'_>) -> Vec<String> {
    let survey = &facts.survey;
    let faults = [&survey.versions_fault, &survey.marks_fault];
    let faults = faults.into_iter().flatten().map(|fault| format!("Not all could be read: {}", printable(fault)));
    let mut lines: Vec<_> = faults.collect();
    if survey.versions.is_empty() {
        lines.push("Installed: nothing".to_owned());
        return lines;
    }
    lines.push("Installed, newest first:".to_owned());
    lines.extend(survey.versions.iter().rev().map(|one| format!("  {}  {}", one.version, marks(one, facts))));
    if let Some(chosen) = select(&survey.versions) {
        lines.push(format!("The next launch takes {}.", chosen.version));
    }
    lines
}

fn marks(one: &Installed, facts: &Facts<'_>) -> String {
    let verdict = facts.verdicts.iter().find(|(version, _)| *version == one.version);
    let mut marks = Vec::new();
    if one.proven {
        marks.push("proven".to_owned());
    }
    if one.rejected {
        let text = verdict.map(|(_, text)| printable(text.trim())).filter(|text| !text.is_empty());
        marks.push(text.map_or_else(|| "rejected".to_owned(), |text| format!("rejected: {text}")));
    }
    if one.withdrawn {
        marks.push("withdrawn".to_owned());
    }
    if one.launches > 0 && !one.proven {
        marks.push(format!("launched unproven: {}", one.launches));
    }
    if marks.is_empty() { "not proven yet".to_owned() } else { marks.join(", ") }
}

/// Text of others, for a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A length of time, for people.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// A time since the epoch, in UTC, for people.
fn moment(time: Duration) -> String {
    let seconds = time.as_secs();
    let (mut days, mut year) = (seconds / 86_400, 1970);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // One turn for each year since 1970, and none beyond the year 9999.
    while days >= 365 + u64::from(leap(year)) && year < 9999 {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length || month == 12 {
            break;
        }
        days -= length;
        month += 1;
    }
    let mut text = String::new();
    let (day, hour, minute) = (days + 1, seconds / 3_600 % 24, seconds / 60 % 60);
    // Writing to a text cannot fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", seconds % 60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CUP: Process = Process { pid: 10, started: 100 };
    const CHILD: Process = Process { pid: 11, started: 200 };

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn alive(process: Process) -> Option<Duration> {
        [CUP, CHILD].contains(&process).then_some(303 * SECOND)
    }

    fn facts(note: Option<Note>) -> Facts<'static> {
        let versions = vec![
            Installed { proven: true, ..Installed::new(v("1.0.0")) },
            Installed { rejected: true, launches: 3, ..Installed::new(v("1.9.0")) },
            Installed { launches: 1, ..Installed::new(v("2.0.0")) },
            Installed { withdrawn: true, ..Installed::new(v("3.0.0")) },
        ];
        Facts {
            home: "/h".into(),
            readable: Ok(()),
            holder: Holder::Process(10),
            note,
            age_of: &alive,
            survey: Survey { versions, ..Survey::default() },
            verdicts: vec![(v("1.9.0"), "crashed It was launched 3 times.\n".to_owned())],
            last_words: Some("1.9.0 ended with exit code 1 after 0.0 s\n\u{1b}[31mred\n".to_owned()),
            monotonic: 1_000 * SECOND,
            wall: Duration::from_secs(1_795_693_623),
        }
    }

    fn note(doing: &str) -> Note {
        Note {
            writer: Some(CUP),
            doing: doing.to_owned(),
            version: Some(v("2.0.0")),
            child: Some(CHILD),
            until: Some(1_297 * SECOND),
            said: "launching 2.0.0 on probation".to_owned(),
        }
    }

    #[test]
    fn a_running_tentacle_is_told_with_everything_around_it() {
        let report = report(&facts(Some(note("Running"))));
        let expected = "\
Home folder: /h
Suction Cup runs as process 10.
Tentacle 2.0.0 runs as process 11 since 2026-11-26 11:42:00 UTC (5 min 3 s); it must be proven within 4 min 57 s.
Its last word: launching 2.0.0 on probation

Installed, newest first:
  3.0.0  withdrawn
  2.0.0  launched unproven: 1
  1.9.0  rejected: crashed It was launched 3 times., launched unproven: 3
  1.0.0  proven
The next launch takes 2.0.0.

Last words:
  1.9.0 ended with exit code 1 after 0.0 s
  \u{fffd}[31mred
";
        assert_eq!(report, Report { text: expected.to_owned(), exit: EXIT_RUNS });
    }

    #[test]
    fn every_state_is_told() {
        let gone = Process { pid: 11, started: 201 };
        let table = [
            (note("Waiting"), "No Tentacle runs: waiting until the next try, in 4 min 57 s.", EXIT_RUNS_NOT),
            (Note { until: None, ..note("Waiting") }, "No Tentacle runs: waiting.", EXIT_RUNS_NOT),
            (note("Installing"), "The bundled version 2.0.0 is being installed.", EXIT_RUNS_NOT),
            (note("Ending"), "Tentacle 2.0.0 was told to end; it is killed in 4 min 57 s.", EXIT_RUNS),
            (Note { child: Some(gone), ..note("Running") }, "Tentacle 2.0.0 has just ended.", EXIT_RUNS_NOT),
            (note("Abandoning"), "No Tentacle runs just now.", EXIT_RUNS_NOT),
        ];
        for (note, line, exit) in table {
            let report = report(&facts(Some(note)));
            assert!(report.text.lines().any(|said| said == line), "{line} in {}", report.text);
            assert_eq!(report.exit, exit, "{line}");
        }
    }

    #[test]
    fn an_old_note_is_never_told_as_the_present() {
        let other = Process { pid: 10, started: 99 };
        let old = Note { writer: Some(other), ..note("Running") };
        let told = |holder, note| report(&Facts { holder, ..facts(note) });
        let table = [
            (Holder::Process(10), Some(old.clone()), "What it does is not known", EXIT_UNKNOWN),
            (Holder::Process(10), None, "What it does is not known", EXIT_UNKNOWN),
            (Holder::Nobody, Some(old.clone()), "does not run. It was killed, or the machine", EXIT_RUNS_NOT),
            (Holder::Nobody, Some(Note { doing: "Stopped".to_owned(), ..old.clone() }), "told to end", EXIT_RUNS_NOT),
            (Holder::Nobody, None, "Suction Cup does not run.\n", EXIT_RUNS_NOT),
            (Holder::Nobody, Some(note("Running")), "runs as process 11", EXIT_RUNS),
            (Holder::Unknown, Some(note("Running")), "runs as process 11", EXIT_RUNS),
            (Holder::Unknown, Some(old), "is not known", EXIT_UNKNOWN),
        ];
        for (holder, note, words, exit) in table {
            let report = told(holder, note);
            assert!(report.text.contains(words), "{words} in {}", report.text);
            assert_eq!(report.exit, exit, "{words}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let unreadable = Facts { readable: Err("permission denied".to_owned()), ..facts(None) };
        let report_of = |facts| report(&facts);
        let report = report_of(unreadable);
        assert_eq!(report.text, "cannot look at /h: permission denied\n");
        assert_eq!(report.exit, EXIT_UNKNOWN);
        let survey = Survey { versions_fault: Some("/h: I/O error".to_owned()), ..Survey::default() };
        let report = report_of(Facts { survey, last_words: None, ..facts(None) });
        assert!(report.text.contains("Not all could be read: /h: I/O error\nInstalled: nothing\n"), "{}", report.text);
        assert!(report.text.ends_with("Last words: none\n"), "{}", report.text);
    }

    #[test]
    fn times_are_told_for_people() {
        let spans = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 900_000].map(|s| span(Duration::from_secs(s)));
        let expected = ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h", "10 d 10 h"];
        assert_eq!(spans, expected);
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(moment(Duration::from_secs(seconds)), text);
        }
        assert!(moment(Duration::MAX).starts_with("9999-12-"), "no end of the loop is needed that never comes");
    }
}
