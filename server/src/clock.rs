//! Time as a value. What decides takes a [`Timestamp`] as a parameter; only the shell asks a [`Clock`] for one.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type, serde::Serialize, serde::Deserialize,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long ago `earlier` was. Zero if it lies in the future, as it may after the clock was stepped.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `duration` later.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The moment `duration` earlier.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads RFC 3339, in any zone.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let moment = time::OffsetDateTime::parse(text.trim(), &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos() / 1000).ok().map(Self)
    }

    /// For sentences: `2026-11-23 10:00 UTC`.
    pub fn minutes(self) -> String {
        let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        moment.ok().and_then(|m| m.format(format).ok()).unwrap_or_default()
    }

    /// As a field of a form for a moment holds it, in UTC: `2026-11-23T10:00`.
    pub fn field(self) -> String {
        let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]");
        let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        moment.ok().and_then(|m| m.format(format).ok()).unwrap_or_default()
    }

    /// Reads [`Timestamp::field`], with seconds or without.
    pub fn from_field(text: &str) -> Option<Self> {
        Self::from_rfc3339(&format!("{text}:00Z")).or_else(|| Self::from_rfc3339(&format!("{text}Z")))
    }

    /// As RFC 3339 with milliseconds: `2026-11-23T10:00:00.000+00:00`, the form of the REST API.
    pub fn rfc3339(self) -> String {
        let format = time::macros::format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+00:00"
        );
        let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        moment.ok().and_then(|m| m.format(format).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// Where the shell gets the time from.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// How long ago some moment of this process was, always the same one. Nobody can set this.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        BEGUN.get_or_init(Instant::now).elapsed()
    }
}

/// When something began, by a clock that may be set meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Began(Timestamp, Duration);

impl Began {
    /// Now.
    pub fn now(clock: &dyn Clock) -> Self {
        Self(clock.now(), clock.elapsed())
    }

    /// The moment, by the clock of then or by the clock of now, whichever is earlier: so it is never later than what was
    /// written since, on whichever side of a step that was.
    pub fn at(self, clock: &dyn Clock) -> Timestamp {
        let now = clock.now();
        self.0.min(now.before(clock.elapsed().saturating_sub(self.1)))
    }
}

/// A smaller difference between two ways to measure the time is drift, and not a clock that was set.
const STEP_MIN: Duration = Duration::from_secs(2);

/// Notices when the clock is set. A computer that slept looks the same, and is treated the same: nothing went on.
#[derive(Debug, Default)]
pub struct StepWatch(Option<(Timestamp, Duration)>);

impl StepWatch {
    /// By how many microseconds the clock was set forward since the last look, back where it is negative; 0 where it was
    /// not.
    pub fn look(&mut self, clock: &dyn Clock) -> i64 {
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let Some((then, before)) = self.0.replace((now, elapsed)) else { return 0 };
        let should_be = then.after(elapsed.saturating_sub(before));
        let step = now.0.saturating_sub(should_be.0);
        if Duration::from_micros(step.unsigned_abs()) < STEP_MIN { 0 } else { step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_rest_api_wants_it() {
        assert_eq!(Timestamp(1_795_428_000_123_456).rfc3339(), "2026-11-23T10:00:00.123+00:00");
    }

    #[test]
    fn a_field_of_a_form_is_read_as_it_is_written() {
        let moment = Timestamp::from_field("2026-11-23T10:00").unwrap();
        assert_eq!((moment, moment.field().as_str()), (Timestamp(1_795_428_000_000_000), "2026-11-23T10:00"));
        assert_eq!(Timestamp::from_field("2026-11-23T10:00:30").unwrap().0, moment.0 + 30_000_000);
        assert_eq!(Timestamp::from_field("tomorrow"), None);
    }

    /// A clock on the wall and a stopwatch, in seconds.
    struct Both(i64, u64);

    impl Clock for Both {
        fn now(&self) -> Timestamp {
            Timestamp(self.0 * 1_000_000)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_drifts_is_not() {
        let mut watch = StepWatch::default();
        let looks = [(100, 5, 0), (110, 15, 0), (116, 20, 0), (3_721, 25, 3_600), (130, 30, -3_596), (135, 35, 0)];
        for (now, elapsed, step) in looks {
            assert_eq!(watch.look(&Both(now, elapsed)), step * 1_000_000, "at {now}");
        }
    }

    #[test]
    fn what_began_before_the_clock_was_set_is_never_later_than_what_was_written_since() {
        let began = Began::now(&Both(100, 5));
        assert_eq!(began.at(&Both(103, 8)), Timestamp(100_000_000));
        assert_eq!(began.at(&Both(13, 8)), Timestamp(10_000_000), "set back: it does not lie in the future");
        assert_eq!(
            began.at(&Both(1_003, 8)),
            Timestamp(100_000_000),
            "set forward: it stays before what was written then"
        );
    }

    #[test]
    fn a_future_moment_is_no_time_ago() {
        assert_eq!(Timestamp(1).since(Timestamp(2)), Duration::ZERO);
        assert_eq!(Timestamp(0).after(Duration::from_secs(1)).since(Timestamp(0)), Duration::from_secs(1));
    }
}
