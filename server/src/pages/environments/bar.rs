//! The bar of an environment's versions. Pure; used by `view`.

use std::collections::HashMap;

use contract::Version;

use super::judged::Judged;
use crate::model::VersionState;

/// Parts into which the bar of versions is divided.
pub const BAR_WIDTH: usize = 1000;

/// The machines of a panel that run one version: a segment of its bar, and a filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// `None` where no version is known.
    pub version: Option<String>,
    /// How many machines.
    pub number: usize,
    /// Beside the bundled version.
    pub state: VersionState,
    /// Where it begins, in thousandths of the bar.
    pub from: usize,
    /// How wide it is, in thousandths of the bar.
    pub width: usize,
}

/// What machines run, widest first.
pub(super) fn segments(members: &[&Judged<'_>], bundled: Option<&Version>) -> Vec<Segment> {
    let mut numbers: HashMap<Option<&Version>, usize> = HashMap::new();
    for machine in members {
        *numbers.entry(machine.version()).or_default() += 1;
    }
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.0.cmp(&a.0)));
    let mut before = 0;
    let place = |count: usize| count * BAR_WIDTH / members.len().max(1);
    let segment = |(version, number): (Option<&Version>, usize)| {
        let from = place(before);
        before += number;
        let version_state = VersionState::of(version, bundled);
        Segment {
            version: version.map(Version::to_string),
            number,
            state: version_state,
            from,
            width: place(before) - from,
        }
    };
    numbers.into_iter().map(segment).collect()
}
