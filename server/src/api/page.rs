//! Pages of resources, with the links by which clients find the next one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bind::Query;
use crate::error::ApiError;

/// Resources on a page where nothing else is said.
const TAKE_DEFAULT: u32 = 30;

/// Links to single pages that an answer holds at most. A list of more pages is walked by `Page.Next`.
const NUMBERED_LINKS_MAX: u64 = 10;

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub skip: u32,
    pub take: u32,
}

/// A page as it stands on the wire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page<T> {
    item_type: &'static str,
    total_results: u64,
    items_per_page: u32,
    number_of_pages: u64,
    last_page_number: u64,
    items: Vec<T>,
    links: BTreeMap<String, String>,
}

/// What every page of one list shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    /// The kind of its resources: `Machine`.
    pub item_type: &'static str,
    /// Where it lives below its space, or below `/api`: `/machines`.
    pub path: &'a str,
    /// The names of the filters it knows, which stay in the links.
    pub filters: &'a [&'a str],
    /// True if all of it can be had under `/all`.
    pub has_all: bool,
    /// Resources on a page where nothing else is said.
    pub take: u32,
    /// Resources on a page at most.
    pub take_max: u32,
}

impl List<'static> {
    /// A list that is kept in memory, with nothing special about it.
    pub(super) const fn of(item_type: &'static str, path: &'static str, filters: &'static [&'static str]) -> Self {
        Self { item_type, path, filters, has_all: false, take: TAKE_DEFAULT, take_max: u32::MAX }
    }
}

impl List<'_> {
    /// Which part of it is asked for. More than it may be on a page is cut; the answer's `ItemsPerPage` says so.
    pub(super) fn slice(&self, query: &Query) -> Result<Slice, ApiError> {
        let skip = query.number("skip")?.unwrap_or(0);
        let take = query.number("take")?.unwrap_or(self.take).clamp(1, self.take_max);
        Ok(Slice { skip, take })
    }

    /// The page that `slice` names, out of resources that were already cut to it; `total` counts those on all pages.
    pub(super) fn page<T>(&self, base: &str, items: Vec<T>, total: u64, slice: Slice, query: &Query) -> Page<T> {
        let path = format!("{base}{}", self.path);
        let take = u64::from(slice.take);
        let number_of_pages = total.div_ceil(take).max(1);
        let last = number_of_pages - 1;
        let current = u64::from(slice.skip) / take;
        let link = |page: u64| self.link(&path, page * take, slice.take, query);
        let mut links = BTreeMap::from([
            ("Self".to_owned(), self.link(&path, slice.skip.into(), slice.take, query)),
            ("Template".to_owned(), format!("{path}{{?{}}}", [&["skip", "take"], self.filters].concat().join(","))),
            ("Page.Current".to_owned(), link(current)),
            ("Page.Last".to_owned(), link(last)),
        ]);
        for page in 0..number_of_pages.min(NUMBERED_LINKS_MAX) {
            links.insert(format!("Page.{page}"), link(page));
        }
        if current < last {
            // Counted from where this page began, so that nothing is skipped where it did not begin at a whole page.
            links.insert("Page.Next".to_owned(), self.link(&path, u64::from(slice.skip) + take, slice.take, query));
        }
        if self.has_all {
            links.insert("Page.All".to_owned(), format!("{path}/all"));
        }
        Page {
            item_type: self.item_type,
            total_results: total,
            items_per_page: slice.take,
            number_of_pages,
            last_page_number: last,
            items,
            links,
        }
    }

    /// Cuts a whole list to the page that the query asks for.
    pub(super) fn cut<T>(&self, base: &str, all: Vec<T>, query: &Query) -> Result<Page<T>, ApiError> {
        let slice = self.slice(query)?;
        let total = all.len() as u64;
        let items = all.into_iter().skip(slice.skip as usize).take(slice.take as usize).collect();
        Ok(self.page(base, items, total, slice, query))
    }

    fn link(&self, path: &str, skip: u64, take: u32, query: &Query) -> String {
        let mut link = format!("{path}?skip={skip}&take={take}");
        for name in self.filters {
            if let Some(value) = query.text(name) {
                link.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        link
    }
}

/// Percent-encodes what must not stand in a query as it is.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List<'_> = List { has_all: true, ..List::of("Machine", "/machines", &["partialName"]) };

    const BASE: &str = "/api/Spaces-1";

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn following_the_links_visits_everything_once() {
        let mut seen = Vec::new();
        let mut next = Some((0, 3));
        while let Some((skip, take)) = next {
            let query = query(&[("skip", &skip.to_string()), ("take", &take.to_string()), ("partialName", "a b")]);
            let page = LIST.cut(BASE, (0..8).collect(), &query).ok().unwrap();
            assert_eq!((page.total_results, page.number_of_pages, page.last_page_number), (8, 3, 2));
            seen.extend(page.items);
            next = page.links.get("Page.Next").map(|link| {
                assert_eq!(*link, format!("/api/Spaces-1/machines?skip={}&take=3&partialName=a%20b", skip + 3));
                (skip + 3, 3)
            });
        }
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_list_is_one_page_and_a_huge_take_is_everything() {
        let page = LIST.cut(BASE, Vec::<u8>::new(), &query(&[])).ok().unwrap();
        assert_eq!((page.total_results, page.items_per_page, page.number_of_pages), (0, 30, 1));
        assert!(!page.links.contains_key("Page.Next"));
        assert_eq!(page.links["Template"], "/api/Spaces-1/machines{?skip,take,partialName}");
        let bare = List::of("Rollout", "/rollouts", &[]).cut(BASE, Vec::<u8>::new(), &query(&[])).ok().unwrap();
        assert_eq!(bare.links["Template"], "/api/Spaces-1/rollouts{?skip,take}");
        assert_eq!(page.links["Page.All"], "/api/Spaces-1/machines/all");
        let all = LIST.cut(BASE, vec![1, 2], &query(&[("take", "2147483647")])).ok().unwrap();
        assert_eq!(all.items, [1, 2]);
    }
}
