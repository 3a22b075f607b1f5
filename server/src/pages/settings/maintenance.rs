//! The page of maintenance: whether it lasts, what it means, and the questions before it begins or ends.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::get;

use super::nav::SettingsPage;
use crate::app::App;
use crate::auth::PageUser;
use crate::db::tasks::task_list_open;
use crate::maintenance::{is_in_maintenance, maintenance_set};
use crate::pages::shell::{Section, Shell};
use crate::pages::view as words;
use crate::pages::{ConfirmPage, PageError, Reason, Weight};
use crate::tasks::UPGRADE;

const HERE: &str = "/settings/maintenance";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route(HERE, get(show))
        .route("/settings/maintenance/begin", get(ask_begin).post(begin))
        .route("/settings/maintenance/end", get(ask_end).post(end))
}

#[derive(Template, WebTemplate)]
#[template(path = "settings/maintenance.html")]
struct MaintenancePage {
    shell: Shell,
    here: SettingsPage,
    /// It lasts.
    is_on: bool,
}

async fn show(user: PageUser, State(app): State<App>) -> Result<MaintenancePage, PageError> {
    let is_on = is_in_maintenance(&mut *app.db.read().await?).await?;
    let shell = Shell::new(&app, &user, Section::Settings, "Maintenance");
    Ok(MaintenancePage { shell, here: SettingsPage::Maintenance, is_on })
}

/// What goes on although maintenance begins: nobody asks for it anew.
fn goes_on(rollouts: usize, tasks: usize) -> String {
    let rollouts = (rollouts > 0).then(|| words::count(rollouts, "rollout"));
    let tasks = (tasks > 0).then(|| words::count(tasks, "task"));
    match (rollouts, tasks) {
        (None, None) => "Nothing is under way now; automatic upgrades begin as ever.".to_owned(),
        (Some(one), None) | (None, Some(one)) => {
            format!("What is under way goes on ({one}), and automatic upgrades begin as ever.")
        }
        (Some(rollouts), Some(tasks)) => {
            format!("What is under way goes on ({rollouts}, {tasks}), and automatic upgrades begin as ever.")
        }
    }
}

async fn ask_begin(user: PageUser, State(app): State<App>) -> Result<ConfirmPage, PageError> {
    let open = task_list_open(&mut *app.db.read().await?).await?;
    let rollouts = open.iter().filter(|task| task.task.name == UPGRADE).count();
    let consequence = format!(
        "Viewers and operators can look at everything and change nothing, in every space, on pages and by the REST API, \
         until an administrator ends it. Each page tells them. {} A rollout is paused on its own page.",
        goes_on(rollouts, open.len() - rollouts)
    );
    Ok(question(&app, &user, "Put the portal into maintenance?", consequence, "begin", "Begin maintenance"))
}

async fn ask_end(user: PageUser, State(app): State<App>) -> ConfirmPage {
    let consequence = "Everybody may change again, at once, what their role lets them.".to_owned();
    question(&app, &user, "End the maintenance?", consequence, "end", "End maintenance")
}

fn question(app: &App, user: &PageUser, title: &str, consequence: String, hand: &str, button: &str) -> ConfirmPage {
    ConfirmPage {
        shell: Shell::new(app, user, Section::Settings, title),
        consequence,
        action: format!("{HERE}/{hand}"),
        fields: Vec::new(),
        button: button.to_owned(),
        weight: Weight::Plain,
        back: HERE.to_owned(),
        reason: Reason::NotAsked,
    }
}

async fn begin(_user: PageUser, State(app): State<App>) -> Result<Redirect, PageError> {
    maintenance_set(&app, true).await?;
    Ok(Redirect::to(HERE))
}

async fn end(_user: PageUser, State(app): State<App>) -> Result<Redirect, PageError> {
    maintenance_set(&app, false).await?;
    Ok(Redirect::to(HERE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_counted() {
        assert!(goes_on(0, 0).starts_with("Nothing is under way now;"));
        assert!(goes_on(1, 0).contains("goes on (1 rollout), and"));
        assert!(goes_on(0, 2).contains("goes on (2 tasks), and"));
        assert!(goes_on(1_200, 1).contains("goes on (1,200 rollouts, 1 task), and"));
    }
}
