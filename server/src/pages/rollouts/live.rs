//! The parts of the pages of rollouts that are sent again when they change.

use askama::Template;

use super::view::{HandsView, Head, RolloutView, RolloutsView, Row, RowHand};
use super::waves::{Cell, WaveRow, WaveState};
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
#[template(path = "rollouts/wave.html")]
struct WavePart<'a> {
    wave: &'a WaveRow,
}

#[derive(Template)]
#[template(path = "rollouts/cell.html")]
struct CellPart<'a> {
    cell: &'a Cell,
    is_first: bool,
}

#[derive(Template)]
#[template(path = "rollouts/events.html")]
struct EventsPart<'a> {
    head: &'a Head,
    events: &'a [Event],
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "rollouts/rows.html")]
struct RowsPart<'a> {
    rows: &'a [Row],
    head: &'a Head,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "rollouts/row.html")]
struct RowPart<'a> {
    row: &'a Row,
    head: &'a Head,
    now: &'a Timestamp,
}

/// The id of the element that holds the rows.
const ROWS: &str = "rollout-rows";

/// What stands at a place of the page.
enum Piece<'a> {
    Head,
    Hands,
    Events,
    Wave(&'a WaveRow),
    Cell(&'a Cell, bool),
    Row(&'a Row),
}

impl RolloutView {
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let waves = self.waves.iter().flat_map(|wave| {
            let cells = wave.cells.iter().enumerate().map(|(at, cell)| Piece::Cell(cell, at == 0));
            std::iter::once(Piece::Wave(wave)).chain(cells)
        });
        [Piece::Head, Piece::Hands, Piece::Events].into_iter().chain(waves).chain(self.rows.iter().map(Piece::Row))
    }
}

impl LiveView for RolloutView {
    fn region(&self) -> &'static str {
        "rollout"
    }

    fn parts(&self) -> Vec<Part> {
        let part = |piece| match piece {
            Piece::Head => Part::new("rollout-head", &self.head),
            Piece::Hands => Part::new("rollout-hands", &self.hands),
            Piece::Events => Part::new("rollout-events", &self.events),
            Piece::Wave(wave) => Part::new(wave.element(), &wave.told()),
            Piece::Cell(cell, _) => Part::new(cell.element(), cell),
            Piece::Row(row) => Part::new(row.element(), row).within(ROWS),
        };
        self.pieces().map(part).collect()
    }

    fn follows(&self) -> &[MachineId] {
        &self.followed
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }

    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String> {
        match self.pieces().nth(place) {
            Some(Piece::Head) => HeadPart { head: &self.head, now: &now }.render(),
            Some(Piece::Hands) => HandsPart { hands: &self.hands }.render(),
            Some(Piece::Events) => EventsPart { head: &self.head, events: &self.events, now: &now }.render(),
            Some(Piece::Wave(wave)) => WavePart { wave }.render(),
            Some(Piece::Cell(cell, is_first)) => CellPart { cell, is_first }.render(),
            Some(Piece::Row(row)) => RowPart { row, head: &self.head, now: &now }.render(),
            None => Ok(String::new()),
        }
    }

    fn render_around(&self, _: &str, now: Timestamp) -> askama::Result<String> {
        RowsPart { rows: &self.rows, head: &self.head, now: &now }.render()
    }
}
