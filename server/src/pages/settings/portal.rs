//! Settings of the portal and its space: machine policy, windows, and what is kept.

use std::time::Duration;

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::PageUser;
use crate::clock::Timestamp;
use crate::db::environments::environment_list;
use crate::db::maintenance::{freeze_list, windows_list};
use crate::db::policies::policies_list;
use crate::ids::EnvironmentId;
use crate::pages::form::{Body, Fields};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{PageError, sentence};
use crate::policy::{Knob, MachinePolicy, machine_policy_save};
use crate::retention::{DAYS_MAX, Retention, TASKS_MAX, retention_get, retention_put};
use crate::rollout::calendar::{FreezeScope, WindowSpec};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/settings/machines", get(machines).post(save_machines))
        .route("/settings/windows", get(windows))
        .route("/settings/retention", get(retention).post(save_retention))
}

/// One number of the policy, as the form shows it.
struct KnobRow {
    knob: Knob,
    /// What is typed; empty for what was configured.
    text: String,
    /// What was configured, in seconds.
    configured: u64,
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/machines.html")]
struct MachinesPage {
    shell: Shell,
    here: SettingsPage,
    health: KnobRow,
    deadlines: Vec<KnobRow>,
    problem: Option<String>,
}

fn seconds(length: Duration) -> u64 {
    length.as_secs()
}

fn machines_page(app: &App, user: &PageUser, text: impl Fn(Knob) -> String, problem: Option<String>) -> MachinesPage {
    let row = |knob: Knob| KnobRow { knob, text: text(knob), configured: seconds(knob.configured(app)) };
    let mut rows = Knob::ALL.into_iter().map(row);
    let health = rows.next().unwrap_or_else(|| row(Knob::HealthInterval));
    let shell = Shell::new(app, user, Section::Settings, "Machine policy");
    MachinesPage { shell, here: SettingsPage::Machines, health, deadlines: rows.collect(), problem }
}

async fn machines(user: PageUser, State(app): State<App>) -> MachinesPage {
    let policy = app.machine_policy(user.0.space);
    machines_page(&app, &user, |knob| policy.get(knob).map_or(String::new(), |set| seconds(set).to_string()), None)
}

/// What is typed in the form, or why it is no policy.
fn read_policy(fields: &Fields) -> Result<MachinePolicy, String> {
    let mut set = Vec::new();
    for knob in Knob::ALL {
        let text = fields.get(knob.name()).trim();
        if text.is_empty() {
            continue;
        }
        let number = text.parse().map_err(|_| format!("\"{text}\" is no whole number of seconds"))?;
        set.push((knob, Duration::from_secs(number)));
    }
    Ok(MachinePolicy::new(set))
}

async fn save_machines(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let read = read_policy(&fields);
    let problem = match &read {
        Ok(policy) => policy.problem(app.rollout),
        Err(problem) => Some(problem.clone()),
    };
    if let (Ok(policy), None) = (read, &problem) {
        machine_policy_save(&app, user.0.space, policy).await?;
        return Ok(Redirect::to("/settings/machines").into_response());
    }
    let problem = problem.map(|problem| sentence(&problem));
    let page = machines_page(&app, &user, |knob| fields.get(knob.name()).to_owned(), problem);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// When one environment is upgraded.
struct WindowRow {
    id: EnvironmentId,
    name: String,
    is_disabled: bool,
    /// Each window in words; none: at any hour.
    windows: Vec<String>,
    /// How it is upgraded by itself.
    automatic: &'static str,
    /// The end of a freeze that holds now.
    frozen_until: Option<Timestamp>,
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/windows.html")]
struct WindowsPage {
    shell: Shell,
    here: SettingsPage,
    rows: Vec<WindowRow>,
    now: Timestamp,
}

async fn windows(user: PageUser, State(app): State<App>) -> Result<WindowsPage, PageError> {
    let mut conn = app.db.read().await?;
    let environments = environment_list(&mut conn, user.0.space).await?;
    let mut specs = windows_list(&mut conn, user.0.space).await?;
    let policies = policies_list(&mut conn, user.0.space).await?;
    let now = app.now();
    let freezes = freeze_list(&mut conn, user.0.space).await?;
    let frozen_until = |id: EnvironmentId| {
        let holds =
            freezes.iter().map(|freeze| &freeze.period).filter(|period| period.from <= now && period.until > now);
        holds.filter(|period| is_for(&period.scope, id)).map(|period| period.until).max()
    };
    let rows = environments.into_iter().map(|environment| WindowRow {
        windows: specs.remove(&environment.id).unwrap_or_default().iter().map(window_words).collect(),
        automatic: if policies.contains_key(&environment.id) {
            "when the portal brings a new version"
        } else {
            "never"
        },
        frozen_until: frozen_until(environment.id),
        id: environment.id,
        name: environment.name.to_string(),
        is_disabled: environment.is_disabled,
    });
    let rows = rows.collect();
    let shell = Shell::new(&app, &user, Section::Settings, "Upgrade hours");
    Ok(WindowsPage { here: SettingsPage::Windows, rows, now: shell.now, shell })
}

fn is_for(scope: &FreezeScope, id: EnvironmentId) -> bool {
    match scope {
        FreezeScope::All => true,
        FreezeScope::Environments(ids) => ids.contains(&id),
    }
}

fn window_words(spec: &WindowSpec) -> String {
    format!("{} for {} min, {}", spec.cron, spec.duration_minutes, spec.time_zone)
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/retention.html")]
struct RetentionPage {
    shell: Shell,
    here: SettingsPage,
    days: String,
    tasks: String,
    problem: Option<String>,
}

fn retention_page(
    app: &App,
    user: &PageUser,
    (days, tasks): (String, String),
    problem: Option<String>,
) -> RetentionPage {
    let shell = Shell::new(app, user, Section::Settings, "Retention");
    RetentionPage { shell, here: SettingsPage::Retention, days, tasks, problem }
}

async fn retention(user: PageUser, State(app): State<App>) -> Result<RetentionPage, PageError> {
    let keep = retention_get(&mut *app.db.read().await?, user.0.space).await?;
    let text = |number: Option<u32>| number.map_or(String::new(), |number| number.to_string());
    Ok(retention_page(&app, &user, (text(keep.days), text(keep.tasks)), None))
}

async fn save_retention(user: PageUser, State(app): State<App>, Body(fields): Body) -> Result<Response, PageError> {
    let number = |name: &str| match fields.get(name).trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("\"{text}\" is no whole number")),
    };
    let read = number("days").and_then(|days| Ok(Retention { days, tasks: number("tasks")? }));
    let read = read.and_then(|keep| keep.problem().map_or(Ok(keep), Err));
    match read {
        Ok(keep) => {
            retention_put(&app, user.0.space, keep).await?;
            Ok(Redirect::to("/settings/retention").into_response())
        }
        Err(problem) => {
            let typed = (fields.get("days").to_owned(), fields.get("tasks").to_owned());
            let page = retention_page(&app, &user, typed, Some(sentence(&problem)));
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}
