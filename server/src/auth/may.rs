//! Which buttons a reader is shown: those that the table of rules lets them press, and no others. Asked by templates; whether
//! a button that was pressed is obeyed is decided by the guard, by the same table.

use http::Method;

use super::rules::{allows, need};
use crate::ids::EnvironmentId;
use crate::model::Role;

tokio::task_local! {
    static READER: Role;
}

/// Runs `work` for a reader of that role: what it renders shows them their own buttons.
pub async fn reading<F: Future>(role: Role, work: F) -> F::Output {
    READER.scope(role, work).await
}

/// True where the reader may send a form to a route, for whatever they may choose there.
pub fn post(route: &str) -> bool {
    may(&Method::POST, route, &[])
}

/// The same, about one environment.
pub fn post_at(route: &str, environment: &EnvironmentId) -> bool {
    may(&Method::POST, route, std::slice::from_ref(environment))
}

/// The same, about something that belongs to these environments.
pub fn post_in(route: &str, environments: &[EnvironmentId]) -> bool {
    may(&Method::POST, route, environments)
}

/// True where the reader may open a route, for whatever they may choose there.
pub fn get(route: &str) -> bool {
    may(&Method::GET, route, &[])
}

/// The same, about one environment.
pub fn get_at(route: &str, environment: &EnvironmentId) -> bool {
    may(&Method::GET, route, std::slice::from_ref(environment))
}

/// The same, about something that belongs to these environments.
pub fn get_in(route: &str, environments: &[EnvironmentId]) -> bool {
    may(&Method::GET, route, environments)
}

fn may(method: &Method, route: &str, environments: &[EnvironmentId]) -> bool {
    let Some(need) = need(method, route) else { return false };
    // Where nobody reads, nothing is kept from anybody.
    READER.try_with(|role| allows(role, need, environments)).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reach;

    #[tokio::test]
    async fn a_reader_is_shown_what_they_may_do_and_where() {
        let [own, other] = [EnvironmentId(1), EnvironmentId(2)];
        let shown = async |role: Role| {
            let look = async {
                (
                    post("/environments/upgrade"),
                    post_at("/environments/{id}/upgrade", &own),
                    post_in("/machines/{id}/check", &[own, other]),
                    get("/machines/new"),
                    get_at("/machines/new", &other),
                    get("/environments/new"),
                    post("/no/such/route"),
                )
            };
            reading(role, look).await
        };
        let some = Role::Operator(Reach::Only([own].into()));
        assert_eq!(shown(Role::Viewer).await, (false, false, false, false, false, false, false));
        assert_eq!(shown(some).await, (false, true, false, true, false, false, false));
        assert_eq!(shown(Role::Operator(Reach::Everywhere)).await, (true, true, true, true, true, false, false));
        assert_eq!(shown(Role::Administrator).await, (true, true, true, true, true, true, false));
    }
}
