//! The environments page as parts that can be sent alone. Used by `events`.

use askama::Template;

use super::filter::{FITS, Filter, Sort, Standing};
use super::view::{EnvironmentsView, PanelHead, Row};
use crate::clock::Timestamp;
use crate::model::VersionState;
use crate::pages::live::{LiveView, Part};
use crate::pages::machines::selected::Deed;
use crate::pages::view as words;

#[derive(Template)]
#[template(path = "environments/region.html")]
struct Region<'a> {
    view: &'a EnvironmentsView,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "environments/top.html")]
struct Top<'a> {
    view: &'a EnvironmentsView,
}

#[derive(Template)]
#[template(path = "environments/selected.html")]
struct Selected<'a> {
    view: &'a EnvironmentsView,
}

#[derive(Template)]
#[template(path = "environments/head.html")]
struct Head<'a> {
    head: &'a PanelHead,
    filter: &'a Filter,
}

#[derive(Template)]
#[template(path = "environments/row.html")]
struct RowPart<'a> {
    row: &'a Row,
    now: &'a Timestamp,
}

/// What stands at a place of the page.
enum Piece<'a> {
    Top,
    Selected,
    Head(&'a PanelHead),
    Row(&'a Row),
}

impl EnvironmentsView {
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let panels = self.panels.iter();
        let below = panels.flat_map(|p| std::iter::once(Piece::Head(&p.head)).chain(p.rows.iter().map(Piece::Row)));
        [Piece::Top, Piece::Selected].into_iter().chain(below)
    }
}

impl LiveView for EnvironmentsView {
    fn region(&self) -> &'static str {
        "environments"
    }

    fn parts(&self) -> Vec<Part> {
        let part = |piece| match piece {
            Piece::Top => Part::new("environments-top", &(&self.bundled, &self.offer)),
            Piece::Selected => Part::new("selected-top", &self.matching),
            Piece::Head(head) => Part::new(format!("environment-{}-head", head.id.0), head),
            Piece::Row(row) => Part::new(row.element(), row),
        };
        self.pieces().map(part).collect()
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }

    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String> {
        match self.pieces().nth(place) {
            Some(Piece::Top) => Top { view: self }.render(),
            Some(Piece::Selected) => Selected { view: self }.render(),
            Some(Piece::Head(head)) => Head { head, filter: &self.filter }.render(),
            Some(Piece::Row(row)) => RowPart { row, now: &now }.render(),
            None => Ok(String::new()),
        }
    }
}
