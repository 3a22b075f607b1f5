//! Who may do what: one rule for each route, in one table. Pure; asked by `guard` before any handler runs. A route that has
//! no rule here is closed to everybody.

use http::Method;

use crate::ids::EnvironmentId;
use crate::model::{Reach, Role};

/// What somebody must be to have a request answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Anybody.
    Nobody,
    /// Somebody who is known. It is about looking, or about their own account.
    User,
    /// An operator of every environment that the request concerns.
    Operator(Concern),
    /// An administrator.
    Administrator,
    /// The bearer of a registration key that works, and nobody else: neither a session nor an API key will do.
    RegistrationKey,
}

/// What tells the environments that a request concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The machine in its path: all environments of that.
    Machine,
    /// The environment in its path.
    Environment,
    /// The rollout in its path: all environments of its machines.
    Rollout,
    /// The task in its path: all environments of its machines.
    Task,
    /// The freeze in its path.
    Freeze,
    /// The registration key in its path: the environments that its machines come into.
    Key,
    /// Every environment there is.
    Everything,
    /// What it holds. Its handler asks [`super::operates`] once that is read; before, an operator of anything will do.
    Content,
}

use Concern::{Content, Environment, Everything, Freeze, Key, Machine, Rollout, Task};
use Need::{Administrator, Nobody, Operator, RegistrationKey, User};

/// Method, route and need of what pages ask.
const PAGES: &[(&str, &str, Need)] = &[
    ("GET", "/", User),
    ("GET", "/assets/{hash}/{*path}", Nobody),
    ("GET", "/login", Nobody),
    ("POST", "/login", Nobody),
    ("POST", "/logout", Nobody),
    ("GET", "/setup", Nobody),
    ("POST", "/setup", Nobody),
    ("GET", "/events", User),
    ("GET", "/environments", User),
    ("POST", "/environments", Administrator),
    ("GET", "/environments/new", Administrator),
    ("GET", "/environments/{id}/edit", Administrator),
    ("POST", "/environments/{id}/edit", Administrator),
    ("GET", "/environments/{id}/delete", Administrator),
    ("POST", "/environments/{id}/delete", Administrator),
    ("POST", "/environments/upgrade", Operator(Everything)),
    ("POST", "/environments/{id}/upgrade", Operator(Environment)),
    ("GET", "/freezes", User),
    ("POST", "/freezes", Operator(Content)),
    ("POST", "/freezes/{id}/end", Operator(Freeze)),
    ("POST", "/machines", Operator(Content)),
    ("GET", "/machines/new", Operator(Content)),
    ("POST", "/machines/discover", Operator(Content)),
    ("POST", "/machines/selected", Operator(Content)),
    ("POST", "/machines/selected/do", Operator(Content)),
    ("GET", "/registration-keys", Operator(Content)),
    ("POST", "/registration-keys", Operator(Content)),
    ("GET", "/registration-keys/{id}", Operator(Content)),
    ("POST", "/registration-keys/{id}/revoke", Operator(Key)),
    ("GET", "/machines/{id}", User),
    ("GET", "/machines/{id}/edit", Operator(Machine)),
    ("POST", "/machines/{id}/edit", Operator(Machine)),
    ("GET", "/machines/{id}/delete", Operator(Machine)),
    ("POST", "/machines/{id}/delete", Operator(Machine)),
    ("POST", "/machines/{id}/upgrade", Operator(Machine)),
    ("POST", "/machines/{id}/check", Operator(Machine)),
    ("POST", "/machines/{id}/connect", Operator(Machine)),
    ("GET", "/machines/{id}/past", User),
    ("GET", "/machines/{id}/trust", Operator(Machine)),
    ("POST", "/machines/{id}/trust", Operator(Machine)),
    ("POST", "/machines/{id}/alone", Operator(Machine)),
    ("POST", "/machines/{id}/hold", Operator(Machine)),
    ("POST", "/machines/{id}/release", Operator(Machine)),
    ("GET", "/packages", User),
    ("POST", "/packages", Operator(Content)),
    ("GET", "/packages/{name}/{version}/delete", Operator(Everything)),
    ("POST", "/packages/{name}/{version}/delete", Operator(Everything)),
    ("GET", "/deploy", Operator(Content)),
    ("POST", "/deploy", Operator(Content)),
    ("GET", "/rollouts", User),
    ("GET", "/rollouts/new", Operator(Content)),
    ("POST", "/rollouts/new", Operator(Content)),
    ("GET", "/rollouts/{id}", User),
    ("GET", "/rollouts/{id}/cancel", Operator(Rollout)),
    ("POST", "/rollouts/{id}/cancel", Operator(Rollout)),
    ("GET", "/rollouts/{id}/undo", Operator(Rollout)),
    ("POST", "/rollouts/{id}/undo", Operator(Rollout)),
    ("GET", "/rollouts/{id}/{hand}", Operator(Rollout)),
    ("POST", "/rollouts/{id}/{hand}", Operator(Rollout)),
    ("GET", "/tasks", User),
    ("GET", "/tasks/{id}", User),
    ("GET", "/tasks/{id}/cancel", Operator(Task)),
    ("POST", "/tasks/{id}/cancel", Operator(Task)),
    ("GET", "/audit", User),
    ("GET", "/search", User),
    ("GET", "/account", User),
    ("POST", "/account/password", User),
    ("POST", "/account/sessions/end", User),
    ("POST", "/account/keys", User),
    ("POST", "/account/keys/{id}/revoke", User),
    ("GET", "/settings/identity", User),
    ("POST", "/settings/identity/ready", Administrator),
    ("POST", "/settings/identity/abandon", Administrator),
    ("POST", "/settings/identity/use", Administrator),
    ("POST", "/settings/identity/forget", Administrator),
    ("POST", "/settings/identity/backup", Administrator),
    ("GET", "/settings/restore", User),
    ("POST", "/settings/restore", Administrator),
    ("POST", "/settings/restore/keys/{id}/revoke", Administrator),
    ("GET", "/settings/machines", User),
    ("POST", "/settings/machines", Administrator),
    ("GET", "/settings/windows", User),
    ("GET", "/settings/retention", User),
    ("POST", "/settings/retention", Administrator),
    ("GET", "/settings/maintenance", User),
    ("GET", "/settings/maintenance/begin", Administrator),
    ("POST", "/settings/maintenance/begin", Administrator),
    ("GET", "/settings/maintenance/end", Administrator),
    ("POST", "/settings/maintenance/end", Administrator),
    ("GET", "/spaces", User),
    ("POST", "/spaces/{id}/choose", User),
    ("GET", "/settings/spaces", Administrator),
    ("POST", "/settings/spaces", Administrator),
    ("GET", "/settings/spaces/new", Administrator),
    ("GET", "/settings/spaces/{id}", Administrator),
    ("POST", "/settings/spaces/{id}", Administrator),
    ("GET", "/settings/spaces/{id}/delete", Administrator),
    ("POST", "/settings/spaces/{id}/delete", Administrator),
    ("GET", "/settings/users", Administrator),
    ("POST", "/settings/users", Administrator),
    ("GET", "/settings/users/new", Administrator),
    ("GET", "/settings/users/{id}", Administrator),
    ("POST", "/settings/users/{id}", Administrator),
    ("POST", "/settings/users/{id}/link", Administrator),
];

/// The same of what monitors ask.
const MONITOR: &[(&str, &str, Need)] =
    &[("GET", "/health/live", Nobody), ("GET", "/health/ready", Nobody), ("GET", "/metrics", User)];

/// The same of the REST API, below `/api`, `/api/{space}` and `/api/spaces/{space}`. The feed stands at `/nuget` as well.
const API: &[(&str, &str, Need)] = &[
    ("GET", "", Nobody),
    ("GET", "/spaces", User),
    ("GET", "/spaces/all", User),
    ("GET", "/spaces/{space}", User),
    ("POST", "/spaces", Administrator),
    ("PUT", "/spaces/{space}", Administrator),
    ("DELETE", "/spaces/{space}", Administrator),
    ("GET", "/{space}", User),
    ("GET", "/users/me", User),
    ("GET", "/users", Administrator),
    ("POST", "/users", Administrator),
    ("GET", "/users/all", Administrator),
    // Of oneself, or of anybody for an administrator: their handlers ask.
    ("GET", "/users/{id}", User),
    ("PUT", "/users/{id}", Administrator),
    ("GET", "/users/{id}/apikeys", User),
    ("POST", "/users/{id}/apikeys", User),
    ("GET", "/users/{id}/apikeys/{key}", User),
    ("DELETE", "/users/{id}/apikeys/{key}", User),
    ("GET", "/capabilities", User),
    ("GET", "/configuration/certificates/certificate-global", User),
    ("GET", "/environments", User),
    ("POST", "/environments", Administrator),
    ("GET", "/environments/v2", User),
    ("GET", "/environments/all", User),
    ("GET", "/environments/summary", User),
    ("GET", "/environments/summary/v2", User),
    ("PUT", "/environments/sortorder", Administrator),
    ("GET", "/environments/{id}", User),
    ("PUT", "/environments/{id}", Administrator),
    ("DELETE", "/environments/{id}", Administrator),
    ("GET", "/environments/{id}/machines", User),
    ("GET", "/events", User),
    ("GET", "/events/agents", User),
    ("GET", "/events/categories", User),
    ("GET", "/events/documenttypes", User),
    ("GET", "/events/groups", User),
    ("GET", "/events/{id}", User),
    ("GET", "/freezes", User),
    ("POST", "/freezes", Operator(Content)),
    ("GET", "/freezes/{id}", User),
    ("DELETE", "/freezes/{id}", Operator(Freeze)),
    ("GET", "/machines", User),
    ("POST", "/machines", Operator(Content)),
    ("GET", "/machines/all", User),
    ("GET", "/machines/discover", Operator(Content)),
    ("GET", "/machines/v2", User),
    ("GET", "/machinepolicies", User),
    ("GET", "/machinepolicies/all", User),
    ("GET", "/machinepolicies/{id}", User),
    ("PUT", "/machinepolicies/{id}", Administrator),
    ("GET", "/feeds", User),
    ("GET", "/feeds/all", User),
    ("GET", "/feeds/{id}", User),
    ("GET", "/lifecycles", User),
    ("GET", "/lifecycles/all", User),
    ("GET", "/lifecycles/{id}", User),
    ("GET", "/projectgroups", User),
    ("GET", "/projectgroups/all", User),
    ("GET", "/projectgroups/{id}", User),
    // What there is, anybody may know: it is the same in every portal of this version.
    ("GET", "/openapi.json", Nobody),
    ("GET", "/docs", Nobody),
    ("GET", "/serverstatus", User),
    ("GET", "/identity", User),
    ("POST", "/identity/ready", Administrator),
    ("POST", "/identity/abandon", Administrator),
    ("POST", "/identity/use", Administrator),
    ("POST", "/identity/forget", Administrator),
    ("GET", "/restoration", User),
    ("POST", "/restoration/confirm", Administrator),
    ("GET", "/maintenanceconfiguration", User),
    ("PUT", "/maintenanceconfiguration", Administrator),
    ("GET", "/machines/{id}", User),
    ("PUT", "/machines/{id}", Operator(Machine)),
    ("DELETE", "/machines/{id}", Operator(Machine)),
    ("GET", "/machines/{id}/connection", User),
    ("GET", "/machines/{id}/tasks", User),
    ("GET", "/machines/{id}/hold", User),
    ("PUT", "/machines/{id}/hold", Operator(Machine)),
    ("DELETE", "/machines/{id}/hold", Operator(Machine)),
    ("DELETE", "/machines/{id}/clone", Operator(Machine)),
    ("GET", "/machineroles/all", User),
    ("GET", "/registration", RegistrationKey),
    ("POST", "/registration", RegistrationKey),
    ("GET", "/tasks", User),
    ("POST", "/tasks", Operator(Content)),
    ("GET", "/tasks/taskTypes", User),
    ("GET", "/tasks/{id}", User),
    ("GET", "/tasks/{id}/details", User),
    ("GET", "/tasks/{id}/raw", User),
    ("GET", "/tasks/{id}/queued-behind", User),
    ("POST", "/tasks/rerun/{id}", Operator(Task)),
    ("POST", "/tasks/{id}/cancel", Operator(Task)),
    ("GET", "/packages", User),
    ("POST", "/packages/raw", Operator(Content)),
    ("POST", "/packages/raw/validate", Operator(Content)),
    ("DELETE", "/packages/bulk", Operator(Everything)),
    ("GET", "/packages/{id}", User),
    ("DELETE", "/packages/{id}", Operator(Everything)),
    ("GET", "/packages/{id}/raw", User),
    ("GET", "/build-information", User),
    ("POST", "/build-information", Operator(Content)),
    ("DELETE", "/build-information/bulk", Operator(Everything)),
    ("GET", "/build-information/{id}", User),
    ("DELETE", "/build-information/{id}", Operator(Everything)),
    ("GET", "/nuget", User),
    ("PUT", "/nuget", Operator(Content)),
    ("POST", "/nuget", Operator(Content)),
    // Only says where things stand, and clients that push look there without their key.
    ("GET", "/nuget/packages", Nobody),
    ("GET", "/nuget/v3/index.json", Nobody),
    ("PUT", "/nuget/packages", Operator(Content)),
    ("POST", "/nuget/packages", Operator(Content)),
    ("DELETE", "/nuget/packages/{id}/{version}", Operator(Everything)),
    ("DELETE", "/nuget/{id}/{version}", Operator(Everything)),
    ("GET", "/nuget/{resource}", User),
    ("GET", "/nuget/package/{id}/{version}", User),
    ("GET", "/nuget/v3/search", User),
    ("GET", "/nuget/v3/autocomplete", User),
    ("GET", "/nuget/v3/flat/{id}/index.json", User),
    ("GET", "/nuget/v3/flat/{id}/{version}/{file}", User),
    ("GET", "/nuget/v3/registration/{id}/index.json", User),
    ("GET", "/nuget/v3/registration/{id}/{leaf}", User),
    ("GET", "/rollouts", User),
    ("POST", "/rollouts", Operator(Content)),
    ("POST", "/rollouts/preview", User),
    ("GET", "/rollouts/{id}", User),
    ("POST", "/rollouts/{id}/undo", Operator(Rollout)),
    ("POST", "/rollouts/{id}/cancel", Operator(Rollout)),
    ("POST", "/rollouts/{id}/start", Operator(Rollout)),
    ("POST", "/rollouts/{id}/pause", Operator(Rollout)),
    ("POST", "/rollouts/{id}/resume", Operator(Rollout)),
    ("POST", "/rollouts/{id}/retry", Operator(Rollout)),
    ("POST", "/rollouts/{id}/skip", Operator(Rollout)),
    ("POST", "/rollouts/{id}/ignore-windows", Operator(Rollout)),
    ("POST", "/rollouts/{id}/release-wave", Operator(Rollout)),
    ("POST", "/rollouts/{id}/release-version", Operator(Rollout)),
];

/// What a request to a route needs, by the route as the router has it; `None` where there is no rule.
pub fn need(method: &Method, route: &str) -> Option<Need> {
    // Whoever may have something may have its headers.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let find = |rules: &[(&str, &str, Need)], path: &str| {
        rules.iter().find(|(verb, rule, _)| *verb == method.as_str() && *rule == path).map(|(_, _, need)| *need)
    };
    let route = if route.len() > 1 { route.trim_end_matches('/') } else { route };
    if route == "/nuget" || route.starts_with("/nuget/") {
        return find(API, route);
    }
    let Some(below) = route.strip_prefix("/api").filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return find(PAGES, route).or_else(|| find(MONITOR, route));
    };
    find(API, below)
        .or_else(|| find(API, below.strip_prefix("/spaces/{space}")?))
        .or_else(|| find(API, below.strip_prefix("/{space}")?))
}

/// What the REST API has: method, address below `/api`, and need.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str, Need)> {
    API.iter().copied()
}

/// True where a role may do what an operator of something may, before it is known what that is.
pub fn may_try(role: &Role, need: Need) -> bool {
    match need {
        Nobody | User => true,
        Operator(_) => matches!(role, Role::Operator(_) | Role::Administrator),
        Administrator => *role == Role::Administrator,
        RegistrationKey => false,
    }
}

/// True where somebody of that role may do what concerns these environments. What a request holds is not known before it is
/// sent: where no environment is told, an operator of anything may try.
pub fn allows(role: &Role, need: Need, environments: &[EnvironmentId]) -> bool {
    may_try(role, need)
        && match (need, role) {
            (Operator(Everything), Role::Operator(Reach::Only(_))) => false,
            (Operator(_), Role::Operator(Reach::Only(own))) => environments.iter().all(|id| own.contains(id)),
            _ => true,
        }
}

/// Every rule: method and route. Those of the API are told as they stand below `/api`.
#[cfg(test)]
pub fn every() -> impl Iterator<Item = (&'static str, String)> {
    let api = API
        .iter()
        .map(|(method, path, _)| (*method, if path.is_empty() { "/api".to_owned() } else { format!("/api{path}") }));
    PAGES.iter().chain(MONITOR).map(|(method, path, _)| (*method, (*path).to_owned())).chain(api)
}
