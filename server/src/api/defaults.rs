//! What every space has one of: the built-in feed, a lifecycle that goes through its environments, and a project group.
//! Clients ask for them before they make anything; they can be looked at and not changed.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::bind::{Asked, Id, Space};
use super::packages::FEED;
use super::page::{List, Page};
use crate::app::App;
use crate::auth::ApiUser;
use crate::db::environments::environment_list;
use crate::error::ApiError;
use crate::ids::SpaceId;

/// What their lists ask for.
pub(super) const FILTERS: [&str; 4] = ["ids", "partialName", "name", "feedType"];

/// One of the three.
#[derive(Clone, Copy, Debug)]
enum Default {
    Feed,
    Lifecycle,
    ProjectGroup,
}

impl Default {
    fn list(self) -> List<'static> {
        let (item_type, path) = match self {
            Self::Feed => ("Feed", "/feeds"),
            Self::Lifecycle => ("Lifecycle", "/lifecycles"),
            Self::ProjectGroup => ("ProjectGroup", "/projectgroups"),
        };
        List { has_all: true, ..List::of(item_type, path, &FILTERS) }
    }

    fn id(self, space: SpaceId) -> String {
        match self {
            Self::Feed => FEED.to_owned(),
            Self::Lifecycle => format!("Lifecycles-{}", space.0),
            Self::ProjectGroup => format!("ProjectGroups-{}", space.0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Feed => "Octopus Server (built-in)",
            Self::Lifecycle => "Default Lifecycle",
            Self::ProjectGroup => "Default Project Group",
        }
    }

    async fn resource(self, app: &App, space: SpaceId) -> Result<Value, ApiError> {
        let base = super::base(space);
        let link = format!("{base}{}/{}", self.list().path, self.id(space));
        let mut value = json!({
            "Id": self.id(space),
            "SpaceId": space,
            "Name": self.name(),
            "Slug": self.name().to_lowercase().replace(['(', ')'], "").replace(' ', "-"),
            "Description": "",
            "Links": { "Self": link },
        });
        match self {
            Self::Feed => {
                value["FeedType"] = json!("BuiltIn");
                value["PackageAcquisitionLocationOptions"] = json!(["Server"]);
                value["Links"]["Packages"] =
                    json!(format!("{base}/packages{{/id}}{{?nuGetPackageId,filter,latest,skip,take}}"));
            }
            Self::Lifecycle => value["Phases"] = phases(app, space).await?,
            Self::ProjectGroup => value["EnvironmentIds"] = json!([]),
        }
        Ok(value)
    }
}

/// A phase for each environment, in their order.
async fn phases(app: &App, space: SpaceId) -> Result<Value, ApiError> {
    let environments = environment_list(&mut *app.db.read().await?, space).await?;
    let phase = |environment: &crate::model::Environment| {
        json!({
            "Id": format!("Phases-{}", environment.id),
            "Name": environment.name.as_str(),
            "OptionalDeploymentTargets": [environment.id],
            "AutomaticDeploymentTargets": [],
            "MinimumEnvironmentsBeforePromotion": 0,
            "IsOptionalPhase": false,
        })
    };
    Ok(environments.iter().map(phase).collect::<Vec<_>>().into())
}

pub(super) fn routes() -> Router<App> {
    [Default::Feed, Default::Lifecycle, Default::ProjectGroup].into_iter().fold(Router::new(), |router, kind| {
        let path = kind.list().path;
        router
            .route(path, get(move |asked: Asked| list(kind, asked)))
            .route(&format!("{path}/all"), get(move |asked: Asked| all(kind, asked)))
            .route(
                &format!("{path}/{{id}}"),
                get(move |app: State<App>, user: ApiUser, space: Space, id: Id<String>| {
                    one(kind, app, user, space, id)
                }),
            )
    })
}

async fn found(kind: Default, asked: &Asked) -> Result<Vec<Value>, ApiError> {
    let Asked { app, space, query } = asked;
    let ids: Vec<String> = query.list("ids")?;
    let is_named = ids.is_empty() || ids.iter().any(|id| id.eq_ignore_ascii_case(&kind.id(*space)));
    let name = kind.name().to_lowercase();
    let is_meant = query.text("partialName").is_none_or(|part| name.contains(&part.to_lowercase()))
        && query.text("name").is_none_or(|wanted| name == wanted.to_lowercase())
        && query.text("feedType").is_none_or(|kind| kind.split(',').any(|kind| kind.eq_ignore_ascii_case("BuiltIn")));
    if is_named && is_meant { Ok(vec![kind.resource(app, *space).await?]) } else { Ok(Vec::new()) }
}

async fn list(kind: Default, asked: Asked) -> Result<Json<Page<Value>>, ApiError> {
    let found = found(kind, &asked).await?;
    Ok(Json(kind.list().cut(&super::base(asked.space), found, &asked.query)?))
}

async fn all(kind: Default, asked: Asked) -> Result<Json<Vec<Value>>, ApiError> {
    found(kind, &asked).await.map(Json)
}

async fn one(
    kind: Default,
    State(app): State<App>,
    _user: ApiUser,
    Space(space): Space,
    Id(id): Id<String>,
) -> Result<Json<Value>, ApiError> {
    if !id.eq_ignore_ascii_case(&kind.id(space)) {
        let id: String = id.chars().take(50).collect();
        return Err(ApiError::not_found(format!("The {} {id}", kind.list().item_type)));
    }
    Ok(Json(kind.resource(&app, space).await?))
}
