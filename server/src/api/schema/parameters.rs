//! What stands in addresses and queries. One name means the same wherever it stands.

use serde_json::{Value, json};

use super::shapes::{flag, list, moment, text};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Kind {
    /// As it is.
    Text,
    /// A whole number from 0.
    Count,
    /// `true` or `false`.
    Flag,
    /// RFC 3339, or a date.
    Moment,
    /// Several, joined by commas.
    List,
}

/// A name of the query.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Parameter {
    /// The name.
    pub name: &'static str,
    /// How its value is written.
    pub kind: Kind,
    /// What it means, in a sentence.
    pub said: &'static str,
}

const fn of(name: &'static str, kind: Kind, said: &'static str) -> Parameter {
    Parameter { name, kind, said }
}

use Kind::{Count, Flag, List, Moment, Text};

/// Every name that a query may have.
pub(in crate::api) const QUERY: &[Parameter] = &[
    of("skip", Count, "So many are left out from the beginning."),
    of("take", Count, "So many at most are on the page."),
    of("ids", List, "Only those of these ids."),
    of("name", Text, "Only what is called so."),
    of("partialName", Text, "Only what has this in its name."),
    of("filter", Text, "Only what has this in its name."),
    of("roles", List, "Only machines with one of these roles."),
    of("isDisabled", Flag, "Only machines that are disabled, or only those that are not."),
    of("healthStatuses", List, "Only machines that are so."),
    of("commStyles", List, "Only machines that are spoken to so."),
    of("environmentIds", List, "Only machines of these environments."),
    of("thumbprint", Text, "Only the machine with this thumbprint."),
    of("tenantIds", List, "There are no tenants: with it, nothing is found."),
    of("tenantTags", List, "There are no tenants: with it, nothing is found."),
    of("deploymentId", Text, "There are no deployments of releases: with it, nothing is found."),
    of("machinePartialName", Text, "Only machines that have this in their name."),
    of("hideEmptyEnvironments", Flag, "Without environments that have no such machine."),
    of("host", Text, "The machine's name or address."),
    of("port", Count, "The port of its Tentacle; 10933 where nothing is said."),
    of("type", Text, "The style in which it is spoken to; TentaclePassive is the one there is."),
    of("reason", Text, "Why. A Reason in the body does the same."),
    of("states", List, "Only those in one of these states."),
    of("active", Flag, "Only what goes on, or only what is over."),
    of("running", Flag, "Only what is being done, or only what is not."),
    of("environment", Text, "Only what is about this environment."),
    of("machine", Text, "Only what is about this machine."),
    of("targetVersion", Text, "Only those to this version."),
    of("undoOf", Text, "Only those that undo this rollout."),
    of("project", Text, "There are no projects: with it, nothing is found."),
    of("tenant", Text, "There are no tenants: with it, nothing is found."),
    of("hasPendingInterruptions", Flag, "There are no interruptions: with true, nothing is found."),
    of("hasWarningsOrErrors", Flag, "Only tasks that have something to complain of, or only those that have not."),
    of("description", Text, "Only tasks that have this in their description."),
    of("fromQueueDate", Moment, "Only tasks that were queued at this time or later."),
    of("toQueueDate", Moment, "Only tasks that were queued at this time or before."),
    of("fromStartDate", Moment, "Only tasks that began at this time or later."),
    of("toStartDate", Moment, "Only tasks that began at this time or before."),
    of("fromCompletedDate", Moment, "Only tasks that ended at this time or later."),
    of("toCompletedDate", Moment, "Only tasks that ended at this time or before."),
    of("tail", Count, "Of each part so many lines at the end."),
    of("nuGetPackageId", Text, "Only versions of this package."),
    of("packageId", Text, "Only versions of this package."),
    of("latest", Flag, "Only the newest version of each."),
    of("includeNotes", Flag, "Changes nothing: the notes are always told."),
    of("overwriteMode", Text, "What to do where it is there: FailIfExists, OverwriteExisting or IgnoreIfExists."),
    of("replace", Flag, "The elder way to say OverwriteExisting."),
    of("feedType", List, "Only feeds of these kinds; BuiltIn is the one there is."),
    of("user", List, "Only what these users did."),
    of("users", List, "Only what these users did."),
    of("eventCategories", List, "Only these categories."),
    of("eventGroups", List, "Only categories of these groups."),
    of("eventAgents", List, "Only what was asked for in these ways."),
    of("documentTypes", List, "Only what is about these kinds of things."),
    of("regarding", List, "Only what is about all of these ids."),
    of("regardingAny", List, "Only what is about one of these ids."),
    of("environments", List, "Only what is about one of these environments."),
    of("from", Moment, "Only what happened at this time or later."),
    of("to", Moment, "Only what happened before this time."),
    of("fromAutoId", Count, "Only from this number on."),
    of("toAutoId", Count, "Only up to this number."),
    of("spaces", List, "Only of these spaces."),
    of("includeSystem", Flag, "Changes nothing: every event is one of the space."),
    of("internal", Flag, "Changes nothing: there are no such events."),
    of("excludeDifference", Flag, "Without what was before and after."),
    of("asCsv", Flag, "Is not built: 501."),
    of("projects", List, "There are no projects: with it, nothing is found."),
    of("projectGroups", List, "There are no projects: with it, nothing is found."),
    of("tenants", List, "There are no tenants: with it, nothing is found."),
    of("tags", List, "There are no tags: with it, nothing is found."),
    of("q", Text, "Only packages that have each of these words in id, title or description."),
    of("prerelease", Flag, "Also what is not finished."),
    of("id", Text, "The package's id."),
    of("searchTerm", Text, "Only packages that have each of these words in id, title or description; between quotes."),
    of("includePrerelease", Flag, "Also what is not finished."),
    of("$filter", Text, "IsLatestVersion or IsAbsoluteLatestVersion. Any other filter is not built: 501."),
    of("$skip", Count, "So many are left out from the beginning."),
    of("$top", Count, "So many at most are told."),
];

/// Every name that an address may have, and what it means.
pub(in crate::api) const PATH: &[(&str, &str)] = &[
    ("id", "Its id."),
    ("key", "The id of the key."),
    ("space", "The id of the space, or its name in addresses."),
    ("version", "The version of the package."),
    ("file", "id.version.nupkg or id.nuspec, in lower case."),
    ("leaf", "The version, with .json after it."),
    ("resource", "What is asked for: $metadata, Packages(), FindPackagesById() or Search()."),
];

/// The names between braces in an address.
pub(in crate::api) fn of_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// What the things at an address are called by: an id that there may be, where they have one of that form.
pub(in crate::api) fn example(path: &str, name: &str) -> Option<&'static str> {
    let root = path.split('/').find(|part| !part.is_empty() && !part.starts_with('{'))?;
    match (name, root) {
        ("space", _) | (_, "spaces") => Some("Spaces-1"),
        ("key", _) => Some("ApiKeys-1"),
        (_, "environments") => Some("Environments-1"),
        (_, "machines") => Some("Machines-1"),
        (_, "machinepolicies") => Some("MachinePolicies-1"),
        (_, "tasks") => Some("ServerTasks-1"),
        (_, "rollouts") => Some("Rollouts-1"),
        (_, "freezes") => Some("Freezes-1"),
        (_, "events") => Some("Events-1"),
        (_, "users") => Some("Users-1"),
        (_, "feeds") => Some("feeds-builtin"),
        (_, "build-information") => Some("BuildInformation-1"),
        (_, "lifecycles") => Some("Lifecycles-1"),
        (_, "projectgroups") => Some("ProjectGroups-1"),
        ("id", "packages") => Some("packages-Acme.Web.1.0.0"),
        ("resource", _) => Some("Packages()"),
        _ => None,
    }
}

impl Kind {
    /// Its piece of JSON Schema.
    pub(in crate::api) fn shape(self) -> Value {
        match self {
            Self::Text => text(),
            Self::Count => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Self::Flag => flag(),
            Self::Moment => moment(),
            Self::List => list(text()),
        }
    }
}

impl Parameter {
    /// As it stands in the document.
    pub(in crate::api) fn told(self) -> Value {
        let mut told =
            json!({ "name": self.name, "in": "query", "description": self.said, "schema": self.kind.shape() });
        if self.kind == Kind::List {
            told["style"] = "form".into();
            told["explode"] = false.into();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_braces_are_found() {
        assert_eq!(of_path("/users/{id}/apikeys/{key}").collect::<Vec<_>>(), ["id", "key"]);
        assert_eq!(of_path("/users").count(), 0);
        assert_eq!(example("/machines/{id}/hold", "id"), Some("Machines-1"));
    }
}
