//! The one place where it is decided whether a request is answered: before any handler runs, by the rule of its route and
//! the role of who asks. A route without a rule is closed.

use axum::RequestPartsExt as _;
use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{Method, StatusCode};

use super::extract::{Peer, principal_of, to_login};
use super::may::reading;
use super::registration_key::bearer;
use super::rules::{Concern, Need, allows, may_try, need};
use super::{Principal, Via};
use crate::app::App;
use crate::audit::{Origin, UsedKey, within};
use crate::db::environments::environment_list;
use crate::db::reach::{
    environments_around, environments_of_freeze, environments_of_machines, environments_of_registration_key,
    environments_of_rollout, environments_of_task,
};
use crate::db::spaces::space_named;
use crate::db::{Connection, DbError};
use crate::error::{self, ApiError};
use crate::ids::{EnvironmentId, SpaceId};
use crate::maintenance::is_in_maintenance;
use crate::model::{Reach, Role};
use crate::rollout::create::Selection;

/// What a viewer is told who wishes to change something.
const VIEWERS_LOOK: &str = "Your role is viewer: you may look at everything here and change nothing. An administrator can \
                            change that.";

/// What an operator is told who wishes to change something elsewhere.
const ELSEWHERE: &str = "This concerns an environment that you do not operate. An administrator can change that.";

/// Lets a request through to its handler, or answers why not.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    // Where no route matched there is nothing to guard.
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else { return next.run(request).await };
    let path = request.uri().path().to_owned();
    let Some(need) = need(request.method(), route.as_str()) else {
        let message = format!("This cannot be done at {path}.");
        return error::respond(&path, StatusCode::METHOD_NOT_ALLOWED, &message);
    };
    let (mut parts, body) = request.into_parts();
    let is_api = error::is_api(route.as_str());
    let Ok(Peer(peer)) = Peer::from_request_parts(&mut parts, &app).await;
    let mut origin = Origin { who: None, peer, key: None };
    if need == Need::RegistrationKey {
        match bearer(&app, &parts.headers, peer).await {
            Ok(bearer) => {
                origin.key = Some(UsedKey::Registration(bearer.key.id));
                origin.who = Some(bearer.key.username.clone());
                parts.extensions.insert(bearer);
            }
            Err(error) => return error.into_response(),
        }
        if let Err(error) = in_maintenance(&app, None, &parts.method).await {
            return error.into_response();
        }
    } else if need != Need::Nobody {
        let who = match principal_of(&mut parts, &app, is_api).await {
            Ok(Some(who)) => who,
            // The script of a page tells the answers of its stream apart, and follows no redirect.
            Ok(None) if route.as_str() == "/events" => return next.run(Request::from_parts(parts, body)).await,
            Ok(None) if is_api => return ApiError::unauthorized().into_response(),
            Ok(None) => return to_login(&parts),
            Err(error) => return error::respond(&path, error.status, &error.message),
        };
        match allowed(&app, &who, need, is_api, &mut parts).await {
            Ok(()) => {}
            Err(error) => return error::respond(&path, error.status, &error.message),
        }
        if let Err(error) = in_maintenance(&app, Some(&who.role), &parts.method).await {
            return error::respond(&path, error.status, &error.message);
        }
        origin.key = if let Via::ApiKey { id, .. } = who.via { Some(UsedKey::Api(id)) } else { None };
        origin.who = Some(who.username.clone());
        let role = who.role.clone();
        parts.extensions.insert(who);
        return within(origin, reading(role, next.run(Request::from_parts(parts, body)))).await;
    }
    within(origin, next.run(Request::from_parts(parts, body))).await
}

/// While the portal is in maintenance, administrators alone change anything.
async fn in_maintenance(app: &App, role: Option<&Role>, method: &Method) -> Result<(), ApiError> {
    let may = method.is_safe() || role == Some(&Role::Administrator);
    if may || !is_in_maintenance(&mut *app.db.read().await?).await? {
        return Ok(());
    }
    let message = "The portal is in maintenance: an administrator has stopped changes for a while. Try again later.";
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message))
}

async fn allowed(app: &App, who: &Principal, need: Need, is_api: bool, parts: &mut Parts) -> Result<(), ApiError> {
    if !may_try(&who.role, need) {
        return Err(ApiError::forbidden(match need {
            Need::Administrator => "Only an administrator may do this.",
            Need::Nobody | Need::User | Need::Operator(_) | Need::RegistrationKey => VIEWERS_LOOK,
        }));
    }
    let (Need::Operator(concern), Role::Operator(Reach::Only(_))) = (need, &who.role) else { return Ok(()) };
    let environments = match concern {
        Concern::Content => return Ok(()),
        Concern::Everything => Vec::new(),
        Concern::Machine | Concern::Environment | Concern::Rollout | Concern::Task | Concern::Freeze | Concern::Key => {
            let params = parts.extract::<RawPathParams>().await.ok();
            let named = |wanted: &str| params.as_ref()?.iter().find(|(name, _)| *name == wanted).map(own);
            let mut conn = app.db.read().await?;
            let space = match named("space") {
                Some(text) => space_named(&mut conn, &text).await?,
                None if is_api => Some(SpaceId::DEFAULT),
                None => Some(who.space),
            };
            match space {
                Some(space) => concerned(&mut conn, concern, space, &named("id").unwrap_or_default()).await?,
                // Its handler says that there is no such space.
                None => Vec::new(),
            }
        }
    };
    if allows(&who.role, need, &environments) { Ok(()) } else { Err(ApiError::forbidden(ELSEWHERE)) }
}

fn own((_, value): (&str, &str)) -> String {
    value.to_owned()
}

/// The environments that a request with that id in its path concerns; none where there is nothing of that id in the space,
/// which its handler says.
async fn concerned(
    conn: &mut Connection,
    concern: Concern,
    space: SpaceId,
    id: &str,
) -> Result<Vec<EnvironmentId>, DbError> {
    match concern {
        Concern::Environment => Ok(id.parse().into_iter().collect()),
        Concern::Machine => match id.parse() {
            Ok(id) => environments_of_machines(conn, space, &[id]).await,
            Err(_) => Ok(Vec::new()),
        },
        Concern::Rollout => match id.parse() {
            Ok(id) => environments_of_rollout(conn, space, id).await,
            Err(_) => Ok(Vec::new()),
        },
        Concern::Task => match id.parse() {
            Ok(id) => environments_of_task(conn, space, id).await,
            Err(_) => Ok(Vec::new()),
        },
        Concern::Freeze => match id.parse() {
            Ok(id) => environments_of_freeze(conn, space, id).await,
            Err(_) => Ok(Vec::new()),
        },
        Concern::Key => match id.parse() {
            Ok(id) => environments_of_registration_key(conn, space, id).await,
            Err(_) => Ok(Vec::new()),
        },
        Concern::Everything | Concern::Content => Ok(Vec::new()),
    }
}

impl Principal {
    /// Refuses whoever does not operate all of these environments.
    pub fn operates(&self, environments: &[EnvironmentId]) -> Result<(), ApiError> {
        match &self.role {
            Role::Administrator | Role::Operator(Reach::Everywhere) => Ok(()),
            Role::Operator(Reach::Only(own)) if environments.iter().all(|id| own.contains(id)) => Ok(()),
            Role::Operator(Reach::Only(_)) => Err(ApiError::forbidden(ELSEWHERE)),
            Role::Viewer => Err(ApiError::forbidden(VIEWERS_LOOK)),
        }
    }
}

/// Refuses whoever does not operate all the environments of a selection. Asked by handlers whose request says in its body
/// what it concerns.
pub async fn operates(app: &App, who: &Principal, space: SpaceId, selection: &Selection) -> Result<(), ApiError> {
    if matches!(who.role, Role::Administrator | Role::Operator(Reach::Everywhere)) {
        return Ok(());
    }
    let mut conn = app.db.read().await?;
    let environments = match selection {
        Selection::All => {
            let all = environment_list(&mut conn, space).await?;
            all.into_iter().map(|environment| environment.id).collect()
        }
        // A machine of one of them may belong to another one, too.
        Selection::Environments(ids) => environments_around(&mut conn, space, ids).await?,
        Selection::Machines(ids) => environments_of_machines(&mut conn, space, ids).await?,
    };
    drop(conn);
    who.operates(&environments)
}
