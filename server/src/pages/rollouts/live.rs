//! The parts of the pages of rollouts that are sent again when they change.

use askama::Template;

use super::view::{HandsView, Head, RolloutView, RolloutsView, Row, RowHand};
use super::waves::{WaveRow, WaveState};
use crate::clock::Timestamp;
use crate::db::rollout_events::Event;
use crate::ids::MachineId;
use crate::pages::live::{LiveView, Part, WholeView};
use crate::pages::view::{self as words, Status};

#[derive(Template)]
#[template(path = "rollouts/list-region.html")]
struct ListRegion<'a> {
    view: &'a RolloutsView,
    now: &'a Timestamp,
}

impl WholeView for RolloutsView {
    const REGION: &'static str = "rollouts";

    fn render(&self, now: Timestamp) -> askama::Result<String> {
        ListRegion { view: self, now: &now }.render()
    }

    fn follows(&self) -> &[MachineId] {
        &self.followed
    }
}

#[derive(Template)]
#[template(path = "rollouts/region.html")]
struct Region<'a> {
    view: &'a RolloutView,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "rollouts/head.html")]
struct HeadPart<'a> {
    head: &'a Head,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "rollouts/hands.html")]
struct HandsPart<'a> {
    hands: &'a HandsView,
}

#[derive(Template)]
#[template(path = "rollouts/waves.html")]
struct WavesPart<'a> {
    waves: &'a [WaveRow],
}

#[derive(Template)]
#[template(path = "rollouts/events.html")]
struct EventsPart<'a> {
    events: &'a [Event],
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "rollouts/row.html")]
struct RowPart<'a> {
    row: &'a Row,
    head: &'a Head,
    now: &'a Timestamp,
}

impl LiveView for RolloutView {
    fn region(&self) -> &'static str {
        "rollout"
    }

    fn parts(&self) -> Vec<Part> {
        let above = [
            Part::new("rollout-head", &self.head),
            Part::new("rollout-hands", &self.hands),
            Part::new("rollout-waves", &self.waves),
            Part::new("rollout-events", &self.events),
        ];
        let rows = self.rows.iter().map(|row| Part::new(row.element(), row));
        above.into_iter().chain(rows).collect()
    }

    fn follows(&self) -> &[MachineId] {
        &self.followed
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }

    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String> {
        match place {
            0 => HeadPart { head: &self.head, now: &now }.render(),
            1 => HandsPart { hands: &self.hands }.render(),
            2 => WavesPart { waves: &self.waves }.render(),
            3 => EventsPart { events: &self.events, now: &now }.render(),
            place => match self.rows.get(place - 4) {
                Some(row) => RowPart { row, head: &self.head, now: &now }.render(),
                None => Ok(String::new()),
            },
        }
    }
}
