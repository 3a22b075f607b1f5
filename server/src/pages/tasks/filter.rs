//! Which tasks the list shows. It stands in the page's address, so that it can be kept and shared. Pure.

use std::fmt::Write as _;

use crate::db::tasks::TaskFilter;
use crate::model::TaskState;
use crate::pages::form::Fields;
use crate::tasks::{CONNECTIVITY, DEPLOY, HEALTH, UPGRADE};

/// Longest text that is searched for, in characters. What is longer is cut.
const SEARCH_MAX: usize = 100;

/// Where the tasks of a list stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// They wait for their turn.
    Queued,
    /// They are under way.
    Running,
    /// They are over, and did not succeed.
    Failed,
    /// They succeeded.
    Succeeded,
    /// They were cancelled.
    Cancelled,
}

impl Standing {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Failed, Self::Succeeded, Self::Cancelled];

    /// The word in an address and on the page.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
        }
    }

    fn states(self) -> Vec<TaskState> {
        match self {
            Self::Queued => vec![TaskState::Queued],
            Self::Running => vec![TaskState::Executing, TaskState::Cancelling],
            Self::Failed => vec![TaskState::Failed, TaskState::TimedOut],
            Self::Succeeded => vec![TaskState::Success],
            Self::Cancelled => vec![TaskState::Canceled],
        }
    }
}

/// Names of tasks, as the page offers them.
pub const NAMES: [&str; 4] = [UPGRADE, DEPLOY, HEALTH, CONNECTIVITY];

/// Which tasks are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The page of the list, from 0.
    pub page: u32,
    /// Only those that stand so.
    pub standing: Option<Standing>,
    /// Only those of this name.
    pub name: Option<&'static str>,
    /// Only those whose description holds this.
    pub search: String,
}

impl Filter {
    /// Reads it from an address; what cannot be read filters nothing.
    pub fn read(fields: &Fields) -> Self {
        let state = fields.get("state");
        Self {
            page: fields.get("number").parse().or_else(|_| fields.get("page").parse()).unwrap_or(0),
            standing: Standing::ALL.into_iter().find(|standing| standing.word() == state),
            name: NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(fields.get("kind"))),
            search: fields.get("q").trim().chars().take(SEARCH_MAX).collect(),
        }
    }

    /// True where nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.standing.is_none() && self.name.is_none() && self.search.is_empty()
    }

    /// The query of an address without the page: begins with `&` unless it is empty.
    pub fn query(&self) -> String {
        let mut query = String::new();
        if let Some(standing) = self.standing {
            query.push_str("&state=");
            query.push_str(standing.word());
        }
        if let Some(name) = self.name {
            query.push_str("&kind=");
            query.push_str(name);
        }
        if !self.search.is_empty() {
            query.push_str("&q=");
            for byte in self.search.bytes() {
                // Cannot fail for a text.
                let _ = match byte {
                    b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => {
                        write!(query, "{}", char::from(byte))
                    }
                    byte => write!(query, "%{byte:02X}"),
                };
            }
        }
        query
    }

    /// What the database is asked for: so many from the filter's page on.
    pub fn of_page(&self, size: u32) -> TaskFilter {
        TaskFilter {
            name: self.name.map(str::to_owned),
            states: self.standing.map(Standing::states).unwrap_or_default(),
            description: (!self.search.is_empty()).then(|| self.search.clone()),
            skip: self.page.saturating_mul(size),
            take: size,
            ..TaskFilter::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let filter = Filter {
            page: 3,
            standing: Some(Standing::Failed),
            name: Some(DEPLOY),
            search: "Äpfel & Birnen=%".to_owned(),
        };
        let query = format!("page=3{}", filter.query());
        assert_eq!(query, "page=3&state=failed&kind=Deploy&q=%C3%84pfel%20%26%20Birnen%3D%25");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = vec![
            field("page", "3"),
            field("state", "failed"),
            field("kind", "deploy"),
            field("q", " Äpfel & Birnen=% "),
        ];
        assert_eq!(Filter::read(&fields.into()), filter);
        let nonsense = vec![field("page", "x"), field("state", "x"), field("kind", "x")];
        assert_eq!(Filter::read(&nonsense.into()), Filter::default());
        assert!(Filter::default().is_empty() && !filter.is_empty());
    }
}
