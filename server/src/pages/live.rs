//! What a page must be able to do to be live: name its parts, tell whether one changed, and render each alone with the
//! template that the page itself uses. Used by `events`. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock::Timestamp;
use crate::ids::MachineId;

/// An element of a page that can be sent alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The id of the element.
    pub element: String,
    /// Differs where its content differs. Ages do not count: the page goes on counting them itself.
    pub fingerprint: u64,
    /// The id of the element around it, which is sent where its parts come, go or change places; empty for the region.
    pub within: &'static str,
}

impl Part {
    /// A part that shows `content` in the element of this id.
    pub fn new(element: impl Into<String>, content: &impl Hash) -> Self {
        Self { element: element.into(), fingerprint: fingerprint(content), within: "" }
    }

    /// The same, in an element that [`LiveView::render_around`] can render.
    pub fn within(self, element: &'static str) -> Self {
        Self { within: element, ..self }
    }
}

/// A page's content that can be sent anew as a whole or in parts.
pub trait LiveView: Send {
    /// The id of the element that holds all parts.
    fn region(&self) -> &'static str;

    /// The parts in the order in which they stand on the page.
    fn parts(&self) -> Vec<Part>;

    /// The whole, as HTML.
    fn render_region(&self, now: Timestamp) -> askama::Result<String>;

    /// One part, by its place among [`LiveView::parts`], as HTML.
    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String>;

    /// An element that parts are [`Part::within`], with all of them, as HTML.
    fn render_around(&self, _element: &str, now: Timestamp) -> askama::Result<String> {
        self.render_region(now)
    }

    /// The machines whose own news changes the page, besides what it is about.
    fn follows(&self) -> &[MachineId] {
        &[]
    }

    /// The id of the element at whose end new parts are put; `None` where parts may come and go anywhere.
    fn grows_in(&self) -> Option<&'static str> {
        None
    }
}

/// A page's content that is sent as a whole, whatever changes in it.
pub trait WholeView: Hash + Send {
    /// The id of its element.
    const REGION: &'static str;

    /// The whole, as HTML.
    fn render(&self, now: Timestamp) -> askama::Result<String>;

    /// See [`LiveView::follows`].
    fn follows(&self) -> &[MachineId] {
        &[]
    }
}

impl<V: WholeView> LiveView for V {
    fn region(&self) -> &'static str {
        V::REGION
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part::new(V::REGION, self)]
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        self.render(now)
    }

    fn render_part(&self, _: usize, now: Timestamp) -> askama::Result<String> {
        self.render(now)
    }

    fn follows(&self) -> &[MachineId] {
        WholeView::follows(self)
    }
}

/// Renders the part at `place` of a page that has a head and rows below it; nothing where there is no such part.
pub fn head_or_row<R>(
    place: usize,
    head: impl FnOnce() -> askama::Result<String>,
    rows: &[R],
    row: impl FnOnce(&R) -> askama::Result<String>,
) -> askama::Result<String> {
    match place.checked_sub(1) {
        None => head(),
        Some(place) => rows.get(place).map_or_else(|| Ok(String::new()), row),
    }
}

/// A number that differs where the content differs; the same in every process of the same program.
pub fn fingerprint(content: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// What tells two states of a page apart: goes out as the id of an event, and comes back when a page reconnects.
pub fn cursor(parts: &[Part]) -> String {
    format!("{:016x}", fingerprint(&parts))
}

/// What brings a page from `old` to the present state of `view`: HTML with one `<hx-partial>` for each element to change;
/// empty where nothing changed. `None` for `old` means that nobody knows what the page shows.
pub fn difference(old: Option<&[Part]>, view: &dyn LiveView, now: Timestamp) -> askama::Result<String> {
    let parts = view.parts();
    let Some(old) = old else { return whole(view, now) };
    if let Some(element) = view.grows_in().filter(|_| parts.len() > old.len() && has_same_order(old, &parts)) {
        return grown(old, &parts, element, view, now);
    }
    let (before, after) = (groups(old), groups(&parts));
    let is_same = before.len() == after.len() && before.iter().zip(&after).all(|(b, a)| b[0].within == a[0].within);
    let moved = |(before, after): (&&[Part], &&[Part])| before.len() != after.len() || !has_same_order(before, after);
    let has_moved = |pair: (&&[Part], &&[Part])| pair.0[0].within.is_empty() && moved(pair);
    if !is_same || before.iter().zip(&after).any(has_moved) {
        return whole(view, now);
    }
    let (mut html, mut place) = (String::new(), 0);
    for (before, after) in before.iter().zip(&after) {
        if moved((before, after)) {
            let element = after[0].within;
            html.push_str(&partial(element, "outerMorph", &view.render_around(element, now)?));
        } else {
            html.push_str(&changed(before, after, place, view, now)?);
        }
        place += after.len();
    }
    Ok(html)
}

/// The parts, those that follow each other within one element together.
fn groups(parts: &[Part]) -> Vec<&[Part]> {
    parts.chunk_by(|one, next| one.within == next.within).collect()
}

/// True where each part stands where it stood, as far as both go.
fn has_same_order(old: &[Part], new: &[Part]) -> bool {
    old.iter().zip(new).all(|(old, new)| old.element == new.element)
}

/// The parts that differ; the first of them is at `place` of the view.
fn changed(old: &[Part], new: &[Part], place: usize, view: &dyn LiveView, now: Timestamp) -> askama::Result<String> {
    let mut html = String::new();
    for (at, (old, new)) in old.iter().zip(new).enumerate() {
        if old.fingerprint != new.fingerprint {
            html.push_str(&partial(&new.element, "outerMorph", &view.render_part(place + at, now)?));
        }
    }
    Ok(html)
}

/// The parts that differ, and the new ones at the end of `element`.
fn grown(old: &[Part], new: &[Part], element: &str, view: &dyn LiveView, now: Timestamp) -> askama::Result<String> {
    let mut html = changed(old, new, 0, view, now)?;
    for place in old.len()..new.len() {
        html.push_str(&partial(element, "beforeend", &view.render_part(place, now)?));
    }
    Ok(html)
}

fn whole(view: &dyn LiveView, now: Timestamp) -> askama::Result<String> {
    Ok(partial(view.region(), "outerMorph", &view.render_region(now)?))
}

fn partial(element: &str, swap: &str, html: &str) -> String {
    format!("<hx-partial hx-target=\"#{element}\" hx-swap=\"{swap}\">{html}</hx-partial>")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Letters(&'static str, bool);

    impl LiveView for Letters {
        fn region(&self) -> &'static str {
            "letters"
        }
        fn parts(&self) -> Vec<Part> {
            self.0.chars().map(|letter| Part::new(letter.to_lowercase().to_string(), &letter)).collect()
        }
        fn render_region(&self, _: Timestamp) -> askama::Result<String> {
            Ok(self.0.to_owned())
        }
        fn render_part(&self, place: usize, _: Timestamp) -> askama::Result<String> {
            Ok(self.0[place..=place].to_owned())
        }
        fn grows_in(&self) -> Option<&'static str> {
            self.1.then_some("end")
        }
    }

    fn sent(old: &'static str, new: &'static str, grows: bool) -> String {
        difference(Some(&Letters(old, grows).parts()), &Letters(new, grows), Timestamp(0)).unwrap()
    }

    #[test]
    fn only_what_changed_is_sent() {
        assert_eq!(sent("abc", "abc", false), "");
        assert_eq!(sent("abc", "aBc", false), "<hx-partial hx-target=\"#b\" hx-swap=\"outerMorph\">B</hx-partial>");
    }

    #[test]
    fn a_page_whose_parts_come_and_go_is_sent_whole() {
        let whole = |text| format!("<hx-partial hx-target=\"#letters\" hx-swap=\"outerMorph\">{text}</hx-partial>");
        for (old, new) in [("abc", "ab"), ("abc", "acb"), ("ab", "abc"), ("", "a")] {
            assert_eq!(sent(old, new, false), whole(new));
        }
        assert_eq!(difference(None, &Letters("a", false), Timestamp(0)).unwrap(), whole("a"));
    }

    #[test]
    fn a_page_that_grows_gets_its_new_parts_at_the_end() {
        let added = "<hx-partial hx-target=\"#end\" hx-swap=\"beforeend\">c</hx-partial>";
        assert_eq!(sent("ab", "abc", true), added);
        assert_eq!(sent("Ab", "abc", true).matches("<hx-partial").count(), 2);
        assert!(sent("abc", "bc", true).contains("#letters"), "what goes away needs the whole");
    }

    /// A heading, and letters in a list of their own.
    struct Listed(&'static str);

    impl LiveView for Listed {
        fn region(&self) -> &'static str {
            "page"
        }
        fn parts(&self) -> Vec<Part> {
            let letters = self.0.chars().map(|letter| letter.to_lowercase().to_string());
            let letters = letters.zip(self.0.chars()).map(|(id, letter)| Part::new(id, &letter).within("list"));
            std::iter::once(Part::new("head", &self.0.len())).chain(letters).collect()
        }
        fn render_region(&self, _: Timestamp) -> askama::Result<String> {
            Ok("all".to_owned())
        }
        fn render_part(&self, place: usize, _: Timestamp) -> askama::Result<String> {
            Ok(place.checked_sub(1).map_or("head".to_owned(), |at| self.0[at..=at].to_owned()))
        }
        fn render_around(&self, element: &str, _: Timestamp) -> askama::Result<String> {
            Ok(format!("{element} of {}", self.0))
        }
    }

    #[test]
    fn where_parts_change_places_only_the_element_around_them_is_sent() {
        let sent = |old, new| difference(Some(&Listed(old).parts()), &Listed(new), Timestamp(0)).unwrap();
        let part = |id, html| format!("<hx-partial hx-target=\"#{id}\" hx-swap=\"outerMorph\">{html}</hx-partial>");
        assert_eq!(sent("abc", "abc"), "");
        assert_eq!(sent("abc", "aBc"), part("b", "B"));
        assert_eq!(sent("abc", "acb"), part("list", "list of acb"));
        assert_eq!(sent("abc", "ab"), part("head", "head") + &part("list", "list of ab"));
        assert_eq!(sent("", "a"), part("page", "all"), "the list itself is new");
    }

    #[test]
    fn a_cursor_tells_states_apart() {
        let cursor = |text| cursor(&Letters(text, false).parts());
        assert_eq!(cursor("abc"), cursor("abc"));
        assert_ne!(cursor("abc"), cursor("abC"));
    }
}
