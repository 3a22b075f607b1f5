//! What the reference has and this portal has not: answered with 501 and a sentence that says what is missing, instead of
//! as if the address were wrong. Asked before any handler; it reads nothing and changes nothing.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::not_built;
use crate::ids::SpaceId;

/// The first part of an address below a space, and what it would be about.
const ROOTS: &[(&str, &str)] = &[
    ("accounts", "Accounts are not built."),
    ("actiontemplates", "Step templates are not built."),
    ("artifacts", "Artifacts of deployments are not built."),
    ("authentication", "Other ways to log in than a password or an API key are not built."),
    (
        "certificates",
        "Certificates of projects are not built. The portal's own is at \
                      /api/configuration/certificates/certificate-global.",
    ),
    ("channels", "Channels are not built, because projects are not."),
    ("cloudtemplate", "Cloud templates are not built."),
    ("communityactiontemplates", "Step templates are not built."),
    ("dashboard", "The dashboard of projects is not built. GET /api/environments/summary counts machines."),
    ("dashboardconfiguration", "The dashboard of projects is not built."),
    ("deploymentprocesses", "Deployment processes are not built, because projects are not."),
    ("deployments", "Deployments of releases are not built. POST /api/tasks with the name Deploy installs a package."),
    ("deploymenttargettags", "Target tags are not built. Roles of machines do their work."),
    ("featuresconfiguration", "Nothing can be switched on or off here."),
    ("interruptions", "Nothing here waits for a person but a wave of a rollout: see /api/rollouts."),
    ("libraryvariablesets", "Variable sets are not built."),
    ("licenses", "There are no licences here."),
    ("migrations", "Moving projects between portals is not built."),
    ("octopusservernodes", "More than one server node is not built."),
    ("permissions", "Permissions are not built. What somebody may do is the Role of their user."),
    ("processes", "Deployment processes are not built, because projects are not."),
    ("progression", "Progression is not built, because projects are not."),
    ("projects", "Projects are not built."),
    ("projecttriggers", "Triggers are not built, because projects are not."),
    ("proxies", "Proxies to machines are not built."),
    ("releases", "Releases are not built, because projects are not."),
    ("reporting", "Reports are not built. GET /api/events tells what happened."),
    ("runbookprocesses", "Runbooks are not built."),
    ("runbookruns", "Runbooks are not built."),
    ("runbooks", "Runbooks are not built."),
    ("runbooksnapshots", "Runbooks are not built."),
    ("scheduler", "The scheduler cannot be looked into."),
    ("scopeduserroles", "Scoped user roles are not built. What somebody may do is the Role of their user."),
    ("smtpconfiguration", "Sending mail is not built."),
    ("subscriptions", "Subscriptions are not built. GET /api/events?fromAutoId=… tells what is new."),
    ("tagsets", "Tag sets are not built, because tenants are not."),
    ("teammembership", "Teams are not built."),
    ("teams", "Teams are not built. What somebody may do is the Role of their user."),
    ("tenants", "Tenants are not built."),
    ("tenantvariables", "Tenants are not built."),
    ("upgradeconfiguration", "The portal does not look for newer versions of itself."),
    ("userroles", "User roles are not built. What somebody may do is the Role of their user."),
    ("variables", "Variables are not built, because projects are not."),
    ("workerpools", "Workers are not built."),
    ("workers", "Workers are not built."),
];

/// Method, address below a space (`*` for one part of it), and what is missing, of roots that are built in part.
const PARTS: &[(&str, &str, &str)] = &[
    ("POST", "machinepolicies", "Further machine policies are not built: one holds for every machine of a space."),
    ("DELETE", "machinepolicies/*", "The one machine policy cannot be deleted."),
    (
        "GET",
        "machinepolicies/template",
        "Further machine policies are not built: one holds for every machine of a space.",
    ),
    ("POST", "feeds", "Other feeds than the built-in one are not built."),
    ("PUT", "feeds/*", "The built-in feed has nothing that can be changed."),
    ("DELETE", "feeds/*", "The built-in feed cannot be deleted."),
    ("POST", "lifecycles", "Other lifecycles than the default one are not built."),
    (
        "PUT",
        "lifecycles/*",
        "The default lifecycle goes through the environments in their order, and cannot be changed.",
    ),
    ("DELETE", "lifecycles/*", "The default lifecycle cannot be deleted."),
    ("POST", "projectgroups", "Other project groups than the default one are not built."),
    ("PUT", "projectgroups/*", "The default project group has nothing that can be changed."),
    ("DELETE", "projectgroups/*", "The default project group cannot be deleted."),
    ("DELETE", "users/*", "Users are not deleted, because the events name them. Set their IsActive to false."),
    ("GET", "users/*/permissions", "Permissions are not built. What somebody may do is the Role of their user."),
    ("GET", "users/*/teams", "Teams are not built."),
    ("POST", "users/login", "Logging in by the REST API is not built. Send an API key."),
    ("GET", "tasks/*/status/messages", "Messages beside the log are not built. See the details of the task."),
    (
        "POST",
        "tasks/*/prioritize",
        "Tasks cannot be put before others. Those of one kind begin in the order of the queue.",
    ),
    ("POST", "tasks/*/state", "What became of a task is what happened. It cannot be written."),
    ("GET", "packages/*/*/delta-signature", "Uploads of differences are not built. Upload the whole package."),
    ("POST", "packages/*/*/delta", "Uploads of differences are not built. Upload the whole package."),
];

/// Answers what is not built, and lets everything else through.
pub async fn unbuilt(request: Request, next: Next) -> Response {
    match missing(request.method().as_str(), request.uri().path()) {
        Some(sentence) => not_built(sentence).into_response(),
        None => next.run(request).await,
    }
}

/// What is missing at an address below `/api`.
fn missing(method: &str, path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let parts = parts.strip_prefix(&["api"])?;
    // An address with a space in front has the same answer, and one that begins with a root has no space in front.
    let below = match parts {
        ["spaces", _, rest @ ..] if !rest.is_empty() => rest,
        [space, rest @ ..] if space.parse::<SpaceId>().is_ok() => rest,
        all => all,
    };
    let root = below.first()?;
    let of_part = |(verb, pattern, _): &&(&str, &str, &str)| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        *verb == method
            && pattern.len() == below.len()
            && pattern.iter().zip(below).all(|(wanted, part)| *wanted == "*" || wanted.eq_ignore_ascii_case(part))
    };
    let of_root = ROOTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(root)).map(|(_, sentence)| *sentence);
    of_root.or_else(|| PARTS.iter().find(of_part).map(|(.., sentence)| *sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_below_every_prefix_and_of_nothing_else() {
        for path in ["/projects", "/projects/Projects-1", "/Projects/all", "/releases/create/v1", "/tenants"] {
            for prefix in ["/api", "/api/Spaces-1", "/api/spaces/default"] {
                assert!(missing("GET", &format!("{prefix}{path}")).is_some(), "{prefix}{path}");
            }
        }
        assert!(missing("POST", "/api/Spaces-1/tasks/ServerTasks-1/prioritize").is_some());
        for (method, path) in [
            ("GET", "/api"),
            ("GET", "/api/spaces/projects"),
            ("GET", "/api/spaces"),
            ("DELETE", "/api/spaces/Spaces-2"),
            ("GET", "/api/machines/projects"),
            ("GET", "/api/nothing"),
            ("GET", "/projects"),
            ("GET", "/api/feeds"),
            ("POST", "/api/tasks"),
        ] {
            assert_eq!(missing(method, path), None, "{method} {path}");
        }
    }
}
