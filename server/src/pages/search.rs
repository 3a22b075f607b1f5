//! The search of the top line: it finds environments, machines, packages, rollouts and tasks, and goes straight to the one
//! whose number was typed.

use askama::Template;
use askama_web::WebTemplate;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;

use super::form::Address;
use super::shell::{Section, Shell};
use super::{PageError, view as words};
use crate::app::App;
use crate::auth::PageUser;
use crate::db::environments::environment_list;
use crate::db::machines::{machine_get, machine_list};
use crate::db::packages::package_list;
use crate::db::rollouts::{rollout_get, rollout_list};
use crate::db::tasks::task_get;
use crate::db::{Connection, DbError};
use crate::ids::{EnvironmentId, MachineId, RolloutId, SpaceId, TaskId};
use crate::model::{Environment, Machine, Package};
use crate::rollout::state::Rollout;

/// Longest text that is searched for, in characters. What is longer is cut.
const SEARCH_MAX: usize = 100;

/// Hits of a kind that are shown. The others are counted.
const HITS_MAX: usize = 25;

/// Rollouts that are looked through, the newest.
const ROLLOUTS_MAX: u32 = 20;

/// `/search`.
pub fn router() -> Router<App> {
    Router::new().route("/search", get(search))
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub href: String,
    /// What tells it from others; may be empty.
    pub note: String,
}

/// What was found of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The kind.
    pub title: &'static str,
    /// Those that are shown; at least one.
    pub hits: Vec<Hit>,
    /// How many there are.
    pub all: usize,
}

/// Everything that is searched.
#[derive(Debug, Default)]
struct Stock {
    environments: Vec<Environment>,
    machines: Vec<Machine>,
    packages: Vec<Package>,
    rollouts: Vec<Rollout>,
}

#[derive(Template, WebTemplate)]
#[template(path = "search/show.html")]
struct SearchPage {
    shell: Shell,
    groups: Vec<Group>,
}

async fn search(user: PageUser, State(app): State<App>, Address(fields): Address) -> Result<Response, PageError> {
    let wanted: String = fields.get("q").trim().chars().take(SEARCH_MAX).collect();
    let mut conn = app.db.read().await?;
    if let Some(href) = named(&mut conn, user.0.space, &wanted).await? {
        return Ok(Redirect::to(&href).into_response());
    }
    let groups =
        if wanted.is_empty() { Vec::new() } else { found(&load(&mut conn, user.0.space, &wanted).await?, &wanted) };
    if let [Group { hits, all: 1, .. }] = &groups[..]
        && let [only] = &hits[..]
    {
        return Ok(Redirect::to(&only.href).into_response());
    }
    let shell = Shell::new(&app, &user, Section::Dashboard, "Search").searched(wanted);
    Ok(SearchPage { shell, groups }.into_response())
}

/// The page of what has this very number, such as `Machines-3`.
async fn named(conn: &mut Connection, space: SpaceId, wanted: &str) -> Result<Option<String>, DbError> {
    if let Ok(id) = wanted.parse::<RolloutId>() {
        return Ok(rollout_get(conn, space, id).await?.map(|_| format!("/rollouts/{id}")));
    }
    if let Ok(id) = wanted.parse::<TaskId>() {
        return Ok(task_get(conn, space, id).await?.map(|_| format!("/tasks/{id}")));
    }
    let Ok(id) = wanted.parse::<MachineId>() else { return Ok(None) };
    let machines = machine_get(conn, space, id).await?;
    Ok(machines.map(|_| format!("/machines/{id}")))
}

async fn load(conn: &mut Connection, space: SpaceId, wanted: &str) -> Result<Stock, DbError> {
    // A rollout is found by its version alone.
    let rollouts = match wanted.contains(|c: char| c.is_ascii_digit()) {
        true => rollout_list(conn, space, 0, ROLLOUTS_MAX).await?,
        false => Vec::new(),
    };
    Ok(Stock {
        environments: environment_list(conn, space).await?,
        machines: machine_list(conn, space).await?,
        packages: package_list(conn, space).await?,
        rollouts,
    })
}

/// What holds the text, without regard to case. Pure.
fn found(stock: &Stock, wanted: &str) -> Vec<Group> {
    let wanted = wanted.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&wanted);
    let name_of = |id: &EnvironmentId| stock.environments.iter().find(|e| e.id == *id).map(|e| e.name.to_string());
    let environments = stock.environments.iter().filter(|e| holds(&e.name.to_string()) || holds(&e.description));
    let environments = environments.map(|e| Hit {
        name: e.name.to_string(),
        href: format!("/environments?environment={}", e.id),
        note: e.description.clone(),
    });
    let is_machine = |m: &&Machine| {
        holds(&m.name)
            || holds(&m.address.to_string())
            || m.roles.iter().any(|role| holds(role))
            || m.thumbprint.to_string().eq_ignore_ascii_case(&wanted)
    };
    let machines = stock.machines.iter().filter(is_machine).map(|m| Hit {
        name: m.name.clone(),
        href: format!("/machines/{}", m.id),
        note: m.environments.iter().filter_map(name_of).chain(m.roles.iter().cloned()).collect::<Vec<_>>().join(" · "),
    });
    let mut packages: Vec<Hit> = Vec::new();
    for package in &stock.packages {
        let (id, title) = (package.package.package_id.to_string(), &package.package.title);
        let is_known = packages.last().is_some_and(|last| last.name.eq_ignore_ascii_case(&id));
        if !is_known && (holds(&id) || holds(title)) {
            packages.push(Hit { name: id, href: "/packages".to_owned(), note: title.clone() });
        }
    }
    let rollouts = stock.rollouts.iter().filter(|r| holds(&r.target.to_string())).map(|r| Hit {
        name: r.id.to_string(),
        href: format!("/rollouts/{}", r.id),
        note: format!("to {}, {}", r.target, r.summary()),
    });
    [
        ("Environments", environments.collect::<Vec<_>>()),
        ("Machines", machines.collect()),
        ("Packages", packages),
        ("Rollouts", rollouts.collect()),
    ]
    .into_iter()
    .filter(|(_, hits)| !hits.is_empty())
    .map(|(title, mut hits)| {
        let all = hits.len();
        hits.truncate(HITS_MAX);
        Group { title, hits, all }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use contract::{Thumbprint, Version};

    use super::*;
    use crate::app::App;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::model::{NewEnvironment, NewMachine};
    use crate::rollout::create::{RolloutRequest, Selection, rollout_create};
    use crate::testing::TestApp;

    async fn portal(machines: usize) -> TestApp {
        let app = App::for_tests().await.with(|inner| {
            let (runtime, version) = ("linux-x64".to_owned(), Version::release(2026, 4, 1));
            let sha256 = contract::Sha256([7; 32]);
            inner.bundle = [crate::bundle::BundledPackage { runtime, version, sha256, size: 1 }].into_iter().collect();
        });
        let mut tx = app.db.write().await.unwrap();
        let (name, description) = ("Production".parse().unwrap(), "what customers see".to_owned());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        for at in 1..=machines {
            let new = NewMachine {
                name: format!("shop-{at}"),
                address: format!("10.0.0.{at}:10933").parse().unwrap(),
                thumbprint: Thumbprint([u8::try_from(at).unwrap(); 32]),
                is_disabled: false,
                environments: vec![environment],
                roles: vec!["Web".to_owned()],
            };
            machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        app
    }

    /// Each kind's number of hits and what is shown of it first.
    async fn found_in(app: &TestApp, wanted: &str) -> Vec<(&'static str, usize, String)> {
        let stock = load(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, wanted).await.unwrap();
        let groups = found(&stock, wanted);
        groups.into_iter().map(|group| (group.title, group.all, group.hits[0].name.clone())).collect()
    }

    #[tokio::test]
    async fn machines_are_found_by_name_role_address_and_thumbprint_and_no_more_are_shown_than_fit() {
        let app = portal(30).await;
        let one = vec![("Machines", 1, "shop-30".to_owned())];
        assert_eq!(found_in(&app, "SHOP-30").await, one);
        assert_eq!(found_in(&app, "10.0.0.30").await, one);
        assert_eq!(found_in(&app, &Thumbprint([30; 32]).to_string().to_lowercase()).await, one);
        let stock = load(&mut app.db.read().await.unwrap(), SpaceId::DEFAULT, "web").await.unwrap();
        let groups = found(&stock, "web");
        assert_eq!((groups[0].hits.len(), groups[0].all), (HITS_MAX, 30));
        assert_eq!(groups[0].hits[0].note, "Production · Web");
        assert_eq!(found_in(&app, "customers").await, [("Environments", 1, "Production".to_owned())]);
        assert_eq!(found_in(&app, "nothing").await, []);
    }

    #[tokio::test]
    async fn rollouts_are_found_by_version_and_what_has_a_number_is_gone_to() {
        let app = portal(1).await;
        let request = RolloutRequest::of(Selection::Machines(vec![MachineId(1)]));
        let rollout = rollout_create(&app, SpaceId::DEFAULT, "x", request).await.unwrap();
        assert_eq!(found_in(&app, "2026.4").await, [("Rollouts", 1, rollout.id.to_string())]);
        let mut conn = app.db.read().await.unwrap();
        for (wanted, path) in [("rollouts-1", "/rollouts/Rollouts-1"), ("Machines-1", "/machines/Machines-1")] {
            assert_eq!(named(&mut conn, SpaceId::DEFAULT, wanted).await.unwrap().as_deref(), Some(path));
        }
        assert_eq!(
            named(&mut conn, SpaceId::DEFAULT, "ServerTasks-1").await.unwrap().as_deref(),
            Some("/tasks/ServerTasks-1")
        );
        assert_eq!(named(&mut conn, SpaceId::DEFAULT, "Machines-99").await.unwrap(), None);
    }
}
