//! What the page of the portal's identity shows, in the parts that are sent alone while a change of it is under way.

use askama::Template;

use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::db::facts::{ContactCount, contact_counts};
use crate::db::trust::MachineTrust;
use crate::ids::{MachineId, SpaceId};
use crate::model::{Role, Space};
use crate::pages::live::{LiveView, Part};
use crate::pages::view as words;
use crate::rotation::{Stage, progress};

/// What is typed by whoever means to change the identity.
pub const WORD: &str = "change identity";

/// Machines that are named as behind. Further ones are counted.
const NAMED_MAX: usize = 50;

/// A thumbprint, for reading and for copying.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Print {
    /// In groups.
    pub grouped: String,
    /// In one piece.
    pub plain: String,
}

impl Print {
    fn of(identity: &octopus_proto::tls::Identity) -> Self {
        let thumbprint = identity.thumbprint();
        Self { grouped: words::grouped(&thumbprint), plain: thumbprint.to_string() }
    }
}

/// The identities, and what stands beside them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prints {
    /// The one in use.
    pub current: Print,
    /// The one that is readied.
    pub next: Option<Print>,
    /// The one before.
    pub former: Option<Print>,
    /// Since when the file of the one in use is there.
    pub since: Option<Timestamp>,
    /// How the last attempts to reach the machines of the space went.
    pub contacts: ContactCount,
    /// The portal's id.
    pub installation: String,
    /// The portal's version.
    pub version: String,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Course {
    /// What is done next.
    pub stage: Stage,
    /// All machines.
    pub machines: usize,
    /// Those that have not taken what they are to be told.
    pub behind: usize,
}

impl Course {
    /// Machines that have taken what they are to be told.
    pub fn done(&self) -> usize {
        self.machines - self.behind
    }
}

/// A machine that is behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BehindRow {
    /// Its id.
    pub machine: MachineId,
    /// Its name.
    pub name: String,
    /// The name of its space, where it is of another one than the page shows.
    pub elsewhere: Option<String>,
    /// When it was last told, and why it did not take it.
    pub tried: Option<(Timestamp, String)>,
}

impl BehindRow {
    fn new(machine: &MachineTrust, here: SpaceId, spaces: &[Space]) -> Self {
        let elsewhere = (machine.space != here).then(|| {
            let space = spaces.iter().find(|space| space.id == machine.space);
            space.map_or(machine.space.to_string(), |space| space.name.clone())
        });
        Self { machine: machine.target.machine, name: machine.name.clone(), elsewhere, tried: machine.tried.clone() }
    }
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityView {
    /// The identities.
    pub prints: Prints,
    /// How far a change of them is.
    pub course: Course,
    /// The first of those that are behind, where the reader may see them.
    pub named: Vec<BehindRow>,
}

impl IdentityView {
    /// Machines that are behind and not named.
    pub fn unnamed(&self) -> usize {
        self.course.behind.saturating_sub(self.named.len())
    }
}

/// What somebody of that role, who looks at that space, is shown.
pub async fn load(app: &App, space: SpaceId, role: &Role) -> Result<IdentityView, DbError> {
    let mut conn = app.db.read().await?;
    let contacts = contact_counts(&mut conn, space).await?;
    let progress = progress(app, &mut conn).await?;
    drop(conn);
    let (set, spaces) = (app.identities.set(), app.spaces());
    let prints = Prints {
        current: Print::of(&set.current),
        next: set.next.as_deref().map(Print::of),
        former: set.former.as_deref().map(Print::of),
        since: set.since,
        contacts,
        installation: app.public_info.installation_id.to_string(),
        version: app.public_info.version.to_string(),
    };
    let row = |machine: &MachineTrust| BehindRow::new(machine, space, &spaces);
    let named = progress.named_for(role).iter().take(NAMED_MAX).map(row).collect();
    let course = Course { stage: progress.stage, machines: progress.machines, behind: progress.behind.len() };
    Ok(IdentityView { prints, course, named })
}

#[derive(Template)]
#[template(path = "settings/identity-region.html")]
struct Region<'a> {
    view: &'a IdentityView,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "settings/identity-prints.html")]
struct PrintsPart<'a> {
    view: &'a IdentityView,
    now: &'a Timestamp,
}

#[derive(Template)]
#[template(path = "settings/identity-course.html")]
struct CoursePart<'a> {
    view: &'a IdentityView,
}

#[derive(Template)]
#[template(path = "settings/identity-behind.html")]
struct BehindPart<'a> {
    view: &'a IdentityView,
    now: &'a Timestamp,
}

impl LiveView for IdentityView {
    fn region(&self) -> &'static str {
        "identity"
    }

    fn parts(&self) -> Vec<Part> {
        let Self { prints, course, named } = self;
        vec![
            Part::new("identity-prints", prints),
            // The thumbprints that belong to its stage stand in it.
            Part::new("identity-course", &(course, &prints.next, &prints.former)),
            Part::new("identity-behind", &(named, self.unnamed())),
        ]
    }

    fn render_region(&self, now: Timestamp) -> askama::Result<String> {
        Region { view: self, now: &now }.render()
    }

    fn render_part(&self, place: usize, now: Timestamp) -> askama::Result<String> {
        match place {
            0 => PrintsPart { view: self, now: &now }.render(),
            1 => CoursePart { view: self }.render(),
            _ => BehindPart { view: self, now: &now }.render(),
        }
    }
}
