//! Packages, and the feed that NuGet's own clients speak to.

use serde_json::Value;

use super::operation::{Content, Operation, delete, get, post, put};
use super::shapes::{any, flag, id, links, list, map, moment, null, number, object, or_null, shape, text, word};
use crate::api::build_information::{BuildInformationBody, LIST as BUILDS};
use crate::api::packages::{LIST, Named};

/// The media type of a package.
const FILE: Content = Content::Of("application/octet-stream");

/// What the second version of NuGet's protocol answers with.
const XML: Content = Content::OneOf(&["application/xml; charset=utf-8", "application/atom+xml; charset=utf-8"]);

pub(super) fn operations() -> Vec<Operation> {
    let own = vec![
        get("/packages", "The packages: by id, the newest version of each first.")
            .asks(LIST.filters)
            .tells_page("Package"),
        post("/packages/raw", "Uploads a package, in the field fileToUpload of a form.")
            .asks(&["overwriteMode", "replace"])
            .takes_file()
            .makes(shape("Package"))
            .or(200, "It was there already, or its damaged file was repaired.", Content::Json(shape("Package"))),
        post("/packages/raw/validate", "Says what is wrong with a package, or null. Nothing of it is kept.")
            .takes_file()
            .tells(shape("PackageIssue")),
        delete("/packages/bulk", "Deletes what the query's ids or the body's Ids name: all of it, or nothing.")
            .asks(&["ids"])
            .may_take::<Named>()
            .deletes()
            .may(&[404]),
        get("/packages/{id}", "One package.").tells(shape("Package")),
        delete("/packages/{id}", "Deletes a package.").deletes(),
        get("/packages/{id}/raw", "The package itself.").or(200, "The file.", FILE),
    ];
    own.into_iter().chain(builds()).chain(feed_v2()).chain(feed_v3()).collect()
}

fn builds() -> Vec<Operation> {
    vec![
        get("/build-information", "How versions of packages were built.")
            .asks(BUILDS.filters)
            .tells_page("BuildInformation"),
        post("/build-information", "Writes down how a version of a package was built. The package may come later.")
            .asks(&["overwriteMode", "replace"])
            .takes::<BuildInformationBody>()
            .makes(shape("BuildInformation"))
            .or(200, "It was there, and was kept or replaced as asked.", Content::Json(shape("BuildInformation"))),
        delete("/build-information/bulk", "Forgets what the query's ids name: all of it, or nothing.")
            .asks(&["ids"])
            .deletes()
            .may(&[404]),
        get("/build-information/{id}", "How one version was built.").tells(shape("BuildInformation")),
        delete("/build-information/{id}", "Forgets how a version was built.").deletes(),
    ]
}

fn feed_v2() -> Vec<Operation> {
    let pushed = |operation: Operation| operation.takes_file().or(201, "It was made.", Content::Nothing).may(&[409]);
    let deleted = |operation: Operation| operation.or(204, "It is gone.", Content::Nothing);
    let list = ["searchTerm", "id", "includePrerelease", "$filter", "$skip", "$top"];
    vec![
        get("/nuget", "Where things stand in the second version of NuGet's protocol.")
            .or(200, "It is told.", XML)
            .may(&[400]),
        pushed(put("/nuget", "Pushes a package.")),
        pushed(post("/nuget", "Pushes a package.")),
        get("/nuget/packages", "The same, for clients that push.").or(200, "It is told.", XML).may(&[400]),
        pushed(put("/nuget/packages", "Pushes a package.")),
        pushed(post("/nuget/packages", "Pushes a package.")),
        deleted(delete("/nuget/packages/{id}/{version}", "Deletes a package.")),
        deleted(delete("/nuget/{id}/{version}", "Deletes a package.")),
        get("/nuget/{resource}", "What the second version of NuGet's protocol knows of packages.")
            .asks(&list)
            .or(200, "It is told.", XML)
            .may(&[501]),
        get("/nuget/package/{id}/{version}", "The package itself.").or(200, "The file.", FILE),
    ]
}

fn feed_v3() -> Vec<Operation> {
    let file = Content::OneOf(&["application/octet-stream", "application/xml; charset=utf-8"]);
    let index = object(&[("version", text()), ("resources", list(map(text())))]);
    let found = object(&[("totalHits", number()), ("data", list(shape("FoundPackage")))]);
    let typed = object(&[("totalHits?", number()), ("data", list(text()))]);
    let versions = object(&[("versions", list(text()))]);
    vec![
        get("/nuget/v3/index.json", "Where things stand in the third version of NuGet's protocol.")
            .tells(index)
            .may(&[400]),
        get("/nuget/v3/search", "Packages that have these words.")
            .asks(&["q", "prerelease", "skip", "take"])
            .tells(found),
        get("/nuget/v3/autocomplete", "Ids that have these words, or the versions of one.")
            .asks(&["q", "id", "prerelease", "skip", "take"])
            .tells(typed),
        get("/nuget/v3/flat/{id}/index.json", "The versions of a package.").tells(versions),
        get("/nuget/v3/flat/{id}/{version}/{file}", "The package itself, or its nuspec.").or(200, "The file.", file),
        get("/nuget/v3/registration/{id}/index.json", "All versions of a package with what they need.")
            .tells(shape("PackageRegistration")),
        get("/nuget/v3/registration/{id}/{leaf}", "One version of a package with what it needs.")
            .tells(shape("PackageLeaf")),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let issue =
        object(&[("Issue", word(["EmptyFile", "PackageAlreadyExists", "CorruptedNugetPackage"])), ("Message", text())]);
    vec![("Package", package()), ("BuildInformation", build()), ("PackageIssue", or_null(issue))]
        .into_iter()
        .chain(of_feed())
        .collect()
}

fn package() -> Value {
    object(&[
        ("Id", text()),
        ("SpaceId", id("Spaces")),
        ("PackageId", text()),
        ("Version", text()),
        ("FileExtension", text()),
        ("FeedId", text()),
        ("NuGetPackageId", text()),
        ("NuGetFeedId", text()),
        ("Title", text()),
        ("Summary", text()),
        ("Description", text()),
        ("ReleaseNotes", text()),
        ("Published", moment()),
        ("PackageSizeBytes", number()),
        ("Hash", text()),
        ("PackageVersionBuildInformation", or_null(shape("BuildInformation"))),
        ("Links", links()),
    ])
}

fn build() -> Value {
    let commit = object(&[("Id", text()), ("Comment", text()), ("LinkUrl", null())]);
    object(&[
        ("Id", id("BuildInformation")),
        ("SpaceId", id("Spaces")),
        ("PackageId", text()),
        ("Version", text()),
        ("BuildEnvironment", text()),
        ("BuildNumber", text()),
        ("BuildUrl", text()),
        ("Branch", text()),
        ("VcsType", text()),
        ("VcsRoot", text()),
        ("VcsCommitNumber", text()),
        ("VcsCommitUrl", null()),
        ("IssueTrackerName", null()),
        ("WorkItems", list(any())),
        ("Commits", list(commit)),
        ("IncompleteDataWarning", null()),
        ("Created", moment()),
        ("Links", links()),
    ])
}

fn of_feed() -> Vec<(&'static str, Value)> {
    let need = object(&[("id", text()), ("range", or_null(text()))]);
    let group = object(&[("targetFramework", or_null(text())), ("dependencies", list(need))]);
    let entry = object(&[
        ("@id", text()),
        ("id", text()),
        ("version", text()),
        ("title", text()),
        ("summary", text()),
        ("description", text()),
        ("authors", text()),
        ("listed", flag()),
        ("published", moment()),
        ("packageContent", text()),
        ("dependencyGroups", list(group)),
    ]);
    let leaf = object(&[
        ("@id", text()),
        ("packageContent", text()),
        ("registration", text()),
        ("listed", flag()),
        ("published", moment()),
        ("catalogEntry", entry),
    ]);
    let page = object(&[
        ("@id", text()),
        ("count", number()),
        ("lower", text()),
        ("upper", text()),
        ("items", list(shape("PackageLeaf"))),
    ]);
    let version = object(&[("@id", text()), ("version", text()), ("downloads", number())]);
    let found = object(&[
        ("@id", text()),
        ("@type", text()),
        ("registration", text()),
        ("id", text()),
        ("version", text()),
        ("title", text()),
        ("summary", text()),
        ("description", text()),
        ("authors", list(text())),
        ("totalDownloads", number()),
        ("verified", flag()),
        ("packageTypes", list(any())),
        ("versions", list(version)),
    ]);
    let registration = object(&[("@id", text()), ("count", number()), ("items", list(page))]);
    vec![("PackageLeaf", leaf), ("FoundPackage", found), ("PackageRegistration", registration)]
}
