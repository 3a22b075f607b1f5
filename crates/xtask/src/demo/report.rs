//! What a demo's upgrade came to: a table for people, and a last line of JSON for scripts.

use std::time::Duration;

use serde::Serialize;

/// Longest reason that is shown, in characters; the portal's page shows all of it.
const REASON_MAX: usize = 600;

/// What came of an upgrade.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) took: Duration,
    /// What the portal says of the whole.
    pub(super) state: String,
    /// The newer version is broken on purpose.
    pub(super) broken: bool,
    /// What is not as it must be, a sentence each. None: all is well.
    pub(super) complaints: Vec<String>,
}

/// What came of one machine.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) now: String,
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) commanded_for: Option<Duration>,
    pub(super) port_closed: Duration,
}

/// The last line. The names and their order are a contract with scripts.
#[derive(Debug, Serialize)]
struct Summary {
    machines: usize,
    upgraded: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fell_back: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    untouched: Option<usize>,
    seconds: f64,
    port_closed_ms_p50: f64,
    port_closed_ms_max: f64,
}

impl Report {
    pub(super) fn new(took: Duration, broken: bool) -> Self {
        Self { rows: Vec::new(), took, state: String::new(), broken, complaints: Vec::new() }
    }

    pub(super) fn check(&mut self, good: bool, complaint: impl FnOnce() -> String) {
        if !good {
            self.complaints.push(complaint());
        }
    }

    fn count(&self, phases: &[&str]) -> usize {
        self.rows.iter().filter(|row| phases.contains(&row.phase.as_str())).count()
    }

    /// Prints the table, the reasons and the complaints.
    pub(super) fn print(&self) {
        println!(
            "\n  {:<18} {:<24} {:<10} {:>17} {:>12}",
            "machine", "from → now", "phase", "command to end", "port closed"
        );
        for row in &self.rows {
            let version = format!("{} → {}", row.from, row.now);
            let took = row.commanded_for.map_or_else(|| "-".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
            let closed = format!("{:.1} ms", milliseconds(row.port_closed));
            println!("  {:<18} {version:<24} {:<10} {took:>17} {closed:>12}", row.name, row.phase);
        }
        println!("\n{}", self.state);
        for row in self.rows.iter().filter(|row| matches!(row.phase.as_str(), "FellBack" | "Failed" | "Lost")) {
            let reason: String = row.reason.chars().take(REASON_MAX).collect();
            println!("{}: {reason}", row.name);
        }
        for complaint in &self.complaints {
            println!("NOT AS IT MUST BE: {complaint}");
        }
        println!();
    }

    /// The last line.
    pub(super) fn json(&self) -> String {
        let mut closed: Vec<Duration> =
            self.rows.iter().filter(|row| row.phase != "Waiting").map(|row| row.port_closed).collect();
        closed.sort_unstable();
        let middle = closed.get(closed.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        let summary = Summary {
            machines: self.rows.len(),
            upgraded: self.count(&["Upgraded"]),
            failed: self.count(&["FellBack", "Failed", "Lost"]),
            fell_back: self.broken.then(|| self.count(&["FellBack"])),
            untouched: self.broken.then(|| self.count(&["Waiting"])),
            seconds: (self.took.as_secs_f64() * 10.0).round() / 10.0,
            port_closed_ms_p50: milliseconds(middle),
            port_closed_ms_max: milliseconds(closed.last().copied().unwrap_or_default()),
        };
        serde_json::to_string(&summary).expect("numbers become JSON")
    }
}

/// To a tenth.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(phase: &str, closed: u64) -> Row {
        Row {
            name: "dev-web-1".to_owned(),
            from: "2026.4.0".to_owned(),
            now: "2026.4.1".to_owned(),
            phase: phase.to_owned(),
            reason: String::new(),
            commanded_for: None,
            port_closed: Duration::from_millis(closed),
        }
    }

    #[test]
    fn the_last_line_has_the_promised_shape() {
        let mut report = Report::new(Duration::from_millis(20_040), false);
        report.rows = vec![row("Upgraded", 30), row("Upgraded", 10), row("Upgraded", 20)];
        let expected = r#"{"machines":3,"upgraded":3,"failed":0,"seconds":20.0,"port_closed_ms_p50":20.0,"port_closed_ms_max":30.0}"#;
        assert_eq!(report.json(), expected);
    }

    #[test]
    fn a_broken_version_is_counted_where_it_fell_back_and_where_it_never_came() {
        let mut report = Report::new(Duration::from_secs(9), true);
        report.rows = vec![row("FellBack", 5_000), row("Waiting", 0), row("Waiting", 0)];
        let expected = r#"{"machines":3,"upgraded":0,"failed":1,"fell_back":1,"untouched":2,"seconds":9.0,"port_closed_ms_p50":5000.0,"port_closed_ms_max":5000.0}"#;
        assert_eq!(report.json(), expected);
    }

    #[test]
    fn no_machines_make_a_line_too() {
        assert!(Report::new(Duration::ZERO, false).json().starts_with(r#"{"machines":0,"upgraded":0"#));
    }
}
