//! Acting on several machines at once: a question that says to how many, and the deed.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Redirect;
use axum::routing::post;
use http::Uri;

use crate::app::App;
use crate::auth::{PageUser, operates};
use crate::bulk::{self, machines_do};
use crate::db::machines::machine_some;
use crate::error::ApiError;
use crate::ids::MachineId;
use crate::pages::environments::filter::Filter;
use crate::pages::environments::view::matching;
use crate::pages::form::{Body, Fields};
use crate::pages::shell::{Section, Shell};
use crate::pages::tasks::refused as refused_task;
use crate::pages::upgrade::refused as refused_rollout;
use crate::pages::view::{self as words, count};
use crate::pages::{PageError, environments};
use crate::rollout::create::{FailedBefore, RolloutRequest, Selection, rollout_create};
use crate::rollout::hands::Who;
use crate::tasks::task_create_health;

/// Names that the question lists. The number beside them tells of all.
const NAMES_MAX: usize = 20;

/// Longest reason of a hold that is kept, in characters.
const WHY_MAX: usize = 500;

pub(super) fn router() -> Router<App> {
    Router::new().route("/machines/selected", post(ask)).route("/machines/selected/do", post(act))
}

/// What may be done to several machines at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A rollout brings them to the bundled version.
    Upgrade,
    /// Each is asked how it is.
    Check,
    /// Everything that needs no more than the database.
    Plain(bulk::Deed),
}

impl Deed {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 7] = [
        Self::Upgrade,
        Self::Check,
        Self::Plain(bulk::Deed::Hold),
        Self::Plain(bulk::Deed::Release),
        Self::Plain(bulk::Deed::Enable),
        Self::Plain(bulk::Deed::Disable),
        Self::Plain(bulk::Deed::Delete),
    ];

    /// The word in the form.
    pub fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Check => "check",
            Self::Plain(bulk::Deed::Hold) => "hold",
            Self::Plain(bulk::Deed::Release) => "release",
            Self::Plain(bulk::Deed::Enable) => "enable",
            Self::Plain(bulk::Deed::Disable) => "disable",
            Self::Plain(bulk::Deed::Delete) => "delete",
        }
    }

    /// The verb before "3 machines".
    pub fn verb(self) -> &'static str {
        match self {
            Self::Upgrade => "Upgrade",
            Self::Check => "Check the health of",
            Self::Plain(bulk::Deed::Hold) => "Hold",
            Self::Plain(bulk::Deed::Release) => "Take the hold away from",
            Self::Plain(bulk::Deed::Enable) => "Enable",
            Self::Plain(bulk::Deed::Disable) => "Disable",
            Self::Plain(bulk::Deed::Delete) => "Delete",
        }
    }

    /// What a person chooses.
    pub fn label(self) -> &'static str {
        match self {
            Self::Check => "Check health",
            Self::Plain(bulk::Deed::Release) => "Take holds away",
            Self::Plain(bulk::Deed::Delete) => "Delete…",
            deed => deed.verb(),
        }
    }

    /// What becomes of them.
    fn consequence(self) -> &'static str {
        match self {
            Self::Upgrade => {
                "A rollout begins at once and brings those that are outdated to the bundled version: one first, then \
                 the others in waves. Those that are up to date, disabled or held stay as they are."
            }
            Self::Check => "A task asks each of them how it is. Disabled machines are left out.",
            Self::Plain(bulk::Deed::Hold) => {
                "No rollout begins with them until somebody takes the hold away. An upgrade that is under way goes on."
            }
            Self::Plain(bulk::Deed::Release) => "Rollouts may begin with them again.",
            Self::Plain(bulk::Deed::Enable) => "They are checked, upgraded and deployed to again.",
            Self::Plain(bulk::Deed::Disable) => {
                "They are shown, but no longer checked, upgraded or deployed to. An upgrade that is under way goes on."
            }
            Self::Plain(bulk::Deed::Delete) => {
                "The portal forgets them and speaks to them no more. Nothing is changed on the machines themselves: \
                 their Tentacles go on running, and they can be added again."
            }
        }
    }

    fn read(fields: &Fields) -> Result<Self, ApiError> {
        let found = Self::ALL.into_iter().find(|deed| deed.word() == fields.get("deed"));
        found.ok_or_else(|| ApiError::bad_request("Say what to do with the machines."))
    }

    fn needs_reason(self) -> bool {
        self == Self::Plain(bulk::Deed::Hold)
    }

    fn takes_reason(self) -> bool {
        self.needs_reason() || self == Self::Plain(bulk::Deed::Release)
    }

    fn is_grave(self) -> bool {
        self == Self::Plain(bulk::Deed::Delete)
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "machines/selected.html")]
struct AskPage {
    shell: Shell,
    deed: Deed,
    button: String,
    names: Vec<String>,
    more: usize,
    /// Their ids, with commas between.
    machines: String,
    /// How they were chosen, as the form said it.
    which: String,
    /// What the reader had chosen to see.
    filter: String,
    back: String,
}

/// Says what will happen to how many, and changes nothing.
async fn ask(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<AskPage, PageError> {
    let deed = Deed::read(&fields)?;
    let filter = read_filter(fields.get("filter"));
    let ids: Vec<MachineId> = match fields.get("which") {
        "all" => matching(&environments::load(&app, user.0.space).await?, &filter),
        _ => fields.parsed("machine").collect(),
    };
    operates(&app, &user.0, user.0.space, &Selection::Machines(ids.clone())).await?;
    let mut machines = machine_some(&mut *app.db.read().await?, &ids).await?;
    if machines.is_empty() {
        let message = "No machine was chosen. Tick the machines you mean, or choose all of them.";
        return Err(ApiError::bad_request(message).into());
    }
    machines.sort_by_key(|machine| machine.name.to_lowercase());
    let button = format!("{} {}", deed.verb(), count(machines.len(), "machine"));
    Ok(AskPage {
        shell: Shell::new(&app, &user, Section::Environments, format!("{button}?")),
        deed,
        button,
        names: machines.iter().take(NAMES_MAX).map(|machine| machine.name.clone()).collect(),
        more: machines.len().saturating_sub(NAMES_MAX),
        machines: machines.iter().map(|machine| machine.id.to_string()).collect::<Vec<_>>().join(","),
        back: format!("/environments?{}", filter.query()),
        which: fields.get("which").to_owned(),
        filter: filter.query(),
    })
}

/// Does it to exactly those that the question counted.
async fn act(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Redirect, PageError> {
    let deed = Deed::read(&fields)?;
    let ids: Vec<MachineId> = fields.get("machines").split(',').filter_map(|id| id.parse().ok()).collect();
    operates(&app, &user.0, user.0.space, &Selection::Machines(ids.clone())).await?;
    let name = &user.0.username;
    match deed {
        Deed::Upgrade => {
            // What a filter found was not named: where the version failed before, it is not tried again for that.
            let is_found = fields.get("which") == "all";
            let failed_before = if is_found { FailedBefore::LeftAlone } else { FailedBefore::TriedAgain };
            let request = RolloutRequest { failed_before, ..RolloutRequest::of(Selection::Machines(ids)) };
            let rollout = rollout_create(&app, user.0.space, name, request).await.map_err(refused_rollout)?;
            Ok(Redirect::to(&format!("/rollouts/{}", rollout.id)))
        }
        Deed::Check => {
            let machines = Selection::Machines(ids);
            let task = task_create_health(&app, user.0.space, name, &machines, None).await;
            Ok(Redirect::to(&format!("/tasks/{}", task.map_err(refused_task)?)))
        }
        Deed::Plain(plain) => {
            let why: String = fields.get("reason").trim().chars().take(WHY_MAX).collect();
            if deed.needs_reason() && why.is_empty() {
                let message = "Say why: whoever finds the machines held wants to know.";
                return Err(ApiError::bad_request(message).into());
            }
            machines_do(&app, user.0.space, &ids, plain, Who { name, why: &why }).await?;
            Ok(Redirect::to(&format!("/environments?{}", read_filter(fields.get("filter")).query())))
        }
    }
}

/// What the reader had chosen to see, from the query of the page's address.
fn read_filter(query: &str) -> Filter {
    let fields = Uri::builder().path_and_query(format!("/?{query}")).build().ok().and_then(|uri| {
        let fields = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
        Some(Fields::from(fields.0))
    });
    Filter::read(&fields.unwrap_or_default())
}
