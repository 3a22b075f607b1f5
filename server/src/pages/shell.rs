//! What stands around every page: the places of the portal, who is logged in, and where the live stream is.

use crate::app::App;
use crate::attention::Needs;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::ids::SpaceId;
use crate::model::{Role, Space};

/// A place of the portal, as the rail lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What needs a person, and how the fleet is.
    Dashboard,
    /// Environments and machines.
    Environments,
    /// Rollouts.
    Rollouts,
    /// Packages and deployments.
    Packages,
    /// Tasks.
    Tasks,
    /// The trail.
    Audit,
    /// One's account, and users.
    Settings,
}

impl Section {
    /// All of them, in their order.
    pub const ALL: [Self; 7] =
        [Self::Dashboard, Self::Environments, Self::Rollouts, Self::Packages, Self::Tasks, Self::Audit, Self::Settings];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dashboard => "Dashboard",
            Self::Environments => "Environments",
            Self::Rollouts => "Rollouts",
            Self::Packages => "Packages",
            Self::Tasks => "Tasks",
            Self::Audit => "Audit",
            Self::Settings => "Settings",
        }
    }

    /// Its address.
    pub fn path(self) -> &'static str {
        match self {
            Self::Dashboard => "/",
            Self::Environments => "/environments",
            Self::Rollouts => "/rollouts",
            Self::Packages => "/packages",
            Self::Tasks => "/tasks",
            Self::Audit => "/audit",
            Self::Settings => "/account",
        }
    }
}

/// What stands around a page.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The page's title.
    pub title: String,
    /// Where it belongs.
    pub section: Section,
    /// Who is logged in.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// The address of its live stream; `None` for pages that do not change by themselves.
    pub live: Option<String>,
    /// What stands in the search of the top line.
    pub search: String,
    /// How many machines and rollouts of the space need a person.
    needs: Needs,
    /// How many settings of the portal do.
    portal_needs: usize,
    /// Administrators alone change anything now.
    pub is_maintenance: bool,
    /// The space that it shows.
    space: SpaceId,
    /// All spaces.
    spaces: Vec<Space>,
    /// The portal's time when the page was made.
    pub now: Timestamp,
}

impl Shell {
    /// What stands around a page that does not change by itself.
    pub fn new(app: &App, user: &PageUser, section: Section, title: impl Into<String>) -> Self {
        let (username, role) = (user.0.username.clone(), user.0.role.clone());
        let (space, spaces) = (user.0.space, app.spaces());
        let needs = app.attention.of(space);
        Self {
            title: title.into(),
            section,
            username,
            role,
            live: None,
            search: String::new(),
            needs,
            portal_needs: app.attention.portal(),
            is_maintenance: app.attention.is_maintenance(),
            space,
            spaces,
            now: app.now(),
        }
    }

    /// The space that the page shows, where that has to be said: there are others, or its tasks do not begin.
    pub fn told_space(&self) -> Option<&Space> {
        let own = self.spaces.iter().find(|space| space.id == self.space)?;
        (self.spaces.len() > 1 || own.queue.is_stopped()).then_some(own)
    }

    /// How much needs a person in a place of the portal.
    pub fn needs(&self, place: &Section) -> usize {
        match place {
            Section::Environments => self.needs.machines,
            Section::Rollouts => self.needs.rollouts,
            Section::Settings => self.portal_needs,
            Section::Dashboard | Section::Packages | Section::Tasks | Section::Audit => 0,
        }
    }

    /// True where they may do everything.
    pub fn is_administrator(&self) -> bool {
        self.role == Role::Administrator
    }

    /// The same, with what was searched for.
    pub fn searched(mut self, wanted: String) -> Self {
        self.search = wanted;
        self
    }

    /// The same, with a live stream: `scope` is the query of `/events` that names what the page shows.
    pub fn live(mut self, scope: &str) -> Self {
        // The stream stays in the space that the page was made in.
        let space = if self.space == SpaceId::DEFAULT { String::new() } else { format!("&space={}", self.space) };
        self.live = Some(format!("/events?{scope}{space}"));
        self
    }
}
