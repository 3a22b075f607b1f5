//! The forms that add, change and delete environments.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;

use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::environments::environment_get;
use crate::db::maintenance::calendar_load;
use crate::db::{Connection, DbError};
use crate::error::ApiError;
use crate::ids::{EnvironmentId, SpaceId};
use crate::model::{Environment, NewEnvironment};
use crate::pages::form::{Body, Fields, Id};
use crate::pages::shell::{Section, Shell};
use crate::pages::{ConfirmPage, PageError, Reason, Weight, sentence};
use crate::rollout::automatic::UpgradePolicy;
use crate::rollout::calendar::{Calendar, Closed, WINDOWS_MAX, WindowSpec};
use crate::rollout::care::{Cares, NewCare};
use crate::rollout::strategy::Strategy;
use crate::roster::{environment_remove, environment_write};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/environments/new", get(new))
        .route("/environments", post(add))
        .route("/environments/{id}/edit", get(edit).post(save))
        .route("/environments/{id}/delete", get(ask_delete).post(delete))
}

/// What stands in the form, as it was typed.
#[derive(Clone, Debug, Default)]
struct Draft {
    name: String,
    description: String,
    sort_order: String,
    is_disabled: bool,
    windows: Vec<WindowDraft>,
    policy: PolicyDraft,
}

/// A maintenance window as it was typed.
#[derive(Clone, Debug, Default)]
struct WindowDraft {
    cron: String,
    minutes: String,
    zone: String,
}

/// What was chosen of automatic upgrades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PolicyDraft {
    #[default]
    Never,
    /// By the default strategy.
    Careful,
    /// By the strategy that was written down, which this page cannot show.
    Own,
}

/// The word of [`PolicyDraft`] in the form.
const POLICIES: [(PolicyDraft, &str); 3] =
    [(PolicyDraft::Never, "never"), (PolicyDraft::Careful, "careful"), (PolicyDraft::Own, "own")];

impl Draft {
    fn of(environment: Environment, cares: &Cares) -> Self {
        let window = |spec: &WindowSpec| WindowDraft {
            cron: spec.cron.clone(),
            minutes: spec.duration_minutes.to_string(),
            zone: spec.time_zone.clone(),
        };
        let policy = match cares.policy(environment.id) {
            UpgradePolicy::Never => PolicyDraft::Never,
            UpgradePolicy::OnNewBundle(strategy) if strategy == Strategy::default() => PolicyDraft::Careful,
            UpgradePolicy::OnNewBundle(_) => PolicyDraft::Own,
        };
        Self {
            windows: cares.windows(environment.id).iter().map(window).collect(),
            policy,
            name: environment.name.to_string(),
            description: environment.description,
            sort_order: environment.sort_order.to_string(),
            is_disabled: environment.is_disabled,
        }
    }
}

impl From<&Fields> for Draft {
    fn from(fields: &Fields) -> Self {
        let typed = |text: &str| text.trim().to_owned();
        let rows = fields.all("cron").zip(fields.all("minutes")).zip(fields.all("zone"));
        let window = |((cron, minutes), zone): ((&str, &str), &str)| WindowDraft {
            cron: typed(cron),
            minutes: typed(minutes),
            zone: typed(zone),
        };
        let chosen = POLICIES.into_iter().find(|(_, word)| *word == fields.get("automatic"));
        Self {
            // A row without a moment is none: this is how a window is taken away.
            windows: rows.map(window).filter(|window| !window.cron.is_empty()).collect(),
            policy: chosen.map(|(policy, _)| policy).unwrap_or_default(),
            name: fields.get("name").trim().to_owned(),
            description: fields.get("description").trim().to_owned(),
            sort_order: fields.get("sort_order").trim().to_owned(),
            is_disabled: fields.is_on("disabled"),
        }
    }
}

impl Draft {
    /// What it asks for, or why it cannot be.
    fn read(&self) -> Result<NewEnvironment, String> {
        let sort_order = match self.sort_order.as_str() {
            "" => None,
            text => Some(
                text.parse().map_err(|_| format!("the place in the order must be a whole number, not \"{text}\""))?,
            ),
        };
        Ok(NewEnvironment {
            name: self.name.parse().map_err(|error: contract::NameError| error.to_string())?,
            description: self.description.clone(),
            sort_order,
            is_disabled: self.is_disabled,
        })
    }

    /// What it asks for of upgrades, or why that cannot be.
    fn care(&self) -> Result<NewCare, String> {
        let window = |draft: &WindowDraft| {
            let duration_minutes = draft.minutes.parse().map_err(|_| {
                format!("a window lasts a whole number of minutes, such as 120, and not \"{}\"", draft.minutes)
            })?;
            let (cron, time_zone) = (draft.cron.clone(), draft.zone.clone());
            Ok::<_, String>(WindowSpec { cron, duration_minutes, time_zone })
        };
        let windows: Vec<WindowSpec> = self.windows.iter().map(window).collect::<Result<_, _>>()?;
        let policy = match self.policy {
            PolicyDraft::Never => Some(UpgradePolicy::Never),
            PolicyDraft::Careful => Some(UpgradePolicy::OnNewBundle(Strategy::default())),
            PolicyDraft::Own => None,
        };
        NewCare::read(Some(&windows), policy)
    }

    /// The rows of the form: the windows, and an empty one for the next.
    fn rows(&self) -> Vec<WindowDraft> {
        let zone = self.windows.last().map_or("UTC", |window| &window.zone).to_owned();
        let empty = WindowDraft { minutes: "120".to_owned(), zone, ..WindowDraft::default() };
        self.windows.iter().cloned().chain([empty]).take(WINDOWS_MAX).collect()
    }
}

#[derive(Template, WebTemplate)]
#[template(path = "environments/form.html")]
struct FormPage {
    shell: Shell,
    id: Option<EnvironmentId>,
    draft: Draft,
    action: String,
    problem: Option<String>,
    /// Whether upgrades may begin now, in a sentence.
    hours: String,
}

fn form(app: &App, user: &PageUser, id: Option<EnvironmentId>, draft: Draft, problem: Option<String>) -> FormPage {
    let title = if id.is_some() { "Edit environment" } else { "Add environment" };
    let shell = Shell::new(app, user, Section::Environments, title);
    let action = id.map_or_else(|| "/environments".to_owned(), |id| format!("/environments/{id}/edit"));
    FormPage { shell, id, draft, action, problem, hours: String::new() }
}

async fn new(user: PageUser, State(app): State<App>) -> FormPage {
    form(&app, &user, None, Draft::default(), None)
}

async fn add(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    put(&app, &user, None, Draft::from(&fields)).await
}

async fn edit(user: PageUser, State(app): State<App>, Id(id): Id<EnvironmentId>) -> Result<FormPage, PageError> {
    let mut conn = app.db.read().await?;
    let environment = get_one(&mut conn, user.0.space, id).await?;
    let draft = Draft::of(environment, &Cares::load(&mut conn, user.0.space).await?);
    let calendar = calendar_load(&mut conn, user.0.space, app.now()).await?;
    let hours = hours(&calendar, id, app.now());
    Ok(FormPage { hours, ..form(&app, &user, Some(id), draft, None) })
}

/// Whether upgrades may begin now in an environment, and when that changes; empty where they may at any hour.
fn hours(calendar: &Calendar, id: EnvironmentId, now: Timestamp) -> String {
    match (calendar.closed(&[id], now), calendar.closes(&[id], now)) {
        (None, None) => String::new(),
        (None, Some(end)) => format!("Upgrades may begin now, until {}.", end.minutes()),
        (Some(Closed::Outside { opens: Some(opens), .. }), _) => {
            format!("No upgrade begins now. The next window opens at {}.", opens.minutes())
        }
        (Some(closed), _) => format!("No upgrade begins now: {closed}."),
    }
}

async fn save(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<EnvironmentId>,
    Body(fields): Body,
) -> Result<Response, PageError> {
    put(&app, &user, Some(id), Draft::from(&fields)).await
}

/// Writes the draft down as a new environment or over an old one; where it cannot be, shows it again and says why.
async fn put(app: &App, user: &PageUser, id: Option<EnvironmentId>, draft: Draft) -> Result<Response, PageError> {
    let problem = match draft.read().and_then(|new| Ok((new, draft.care()?))) {
        Ok((new, care)) => match environment_write(app, user.0.space, id, |_| Ok(new), &care).await {
            Ok((written, _)) => {
                return Ok(Redirect::to(&format!("/environments#environment-{}", written.id.0)).into_response());
            }
            Err(DbError::Refused(refusal)) => refusal.to_string(),
            Err(error) => return Err(error.into()),
        },
        Err(problem) => problem,
    };
    let page = form(app, user, id, draft, Some(sentence(&problem)));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn ask_delete(
    user: PageUser,
    State(app): State<App>,
    Id(id): Id<EnvironmentId>,
) -> Result<ConfirmPage, PageError> {
    let environment = get_one(&mut *app.db.read().await?, user.0.space, id).await?;
    Ok(ConfirmPage {
        shell: Shell::new(&app, &user, Section::Environments, format!("Delete {}?", environment.name)),
        consequence: "The environment goes; what was deployed for it on machines stays there. It can only be deleted \
                      when no machine belongs to it any more."
            .to_owned(),
        action: format!("/environments/{id}/delete"),
        fields: Vec::new(),
        weight: Weight::Grave,
        button: format!("Delete {}", environment.name),
        back: format!("/environments/{id}/edit"),
        reason: Reason::NotAsked,
    })
}

async fn delete(user: PageUser, State(app): State<App>, Id(id): Id<EnvironmentId>) -> Result<Redirect, PageError> {
    if !environment_remove(&app, user.0.space, id).await? {
        return Err(ApiError::not_found(format!("The environment {id}")).into());
    }
    Ok(Redirect::to("/environments"))
}

async fn get_one(conn: &mut Connection, space: SpaceId, id: EnvironmentId) -> Result<Environment, PageError> {
    let environment = environment_get(conn, space, id).await?;
    Ok(environment.ok_or_else(|| ApiError::not_found(format!("The environment {id}")))?)
}
