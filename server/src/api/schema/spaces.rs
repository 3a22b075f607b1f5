//! The root, spaces, what a space has one of, and what there is once in the whole portal.

use serde_json::Value;

use super::operation::{Content, Operation, delete, get, post, put};
use super::shapes::{flag, id, links, list, map, moment, null, number, object, or_null, shape, text, word};
use crate::api::defaults;
use crate::api::identity::CutOff;
use crate::api::spaces::{LIST, SpaceBody};
use crate::api::system::MaintenanceBody;

pub(super) fn operations() -> Vec<Operation> {
    let once = vec![
        get("", "Tells what this is, and where everything else stands.").tells(shape("Root")),
        get("/openapi.json", "Tells all of this as OpenAPI 3.1.").tells(map(super::shapes::any())),
        get("/docs", "Tells all of this to people.").or(200, "The page.", Content::Of("text/html; charset=utf-8")),
        get("/spaces", "The spaces.").asks(LIST.filters).tells_page("Space"),
        get("/spaces/all", "The spaces, as a bare list.").asks(LIST.filters).tells(list(shape("Space"))),
        get("/spaces/{space}", "One space.").tells(shape("Space")),
        post("/spaces", "Makes a space.").takes::<SpaceBody>().makes(shape("Space")),
        put("/spaces/{space}", "Changes a space; its queue is stopped and started here.")
            .takes::<SpaceBody>()
            .tells(shape("Space"))
            .may(&[409]),
        delete("/spaces/{space}", "Deletes a space whose queue is stopped, with everything in it.")
            .deletes()
            .may(&[409]),
        get("/{space}", "Where the resources of a space stand.").tells(shape("SpaceRoot")),
        get("/capabilities", "Which optional parts of the reference are here: none.")
            .tells(object(&[("Capabilities", list(text()))])),
        get("/configuration/certificates/certificate-global", "The portal's certificate, which Tentacles pin.")
            .tells(shape("Certificate")),
        get("/serverstatus", "How the portal is.").tells(shape("ServerStatus")),
        get("/maintenanceconfiguration", "Whether the portal is in maintenance.").tells(shape("Maintenance")),
        put("/maintenanceconfiguration", "Begins maintenance, or ends it.")
            .takes::<MaintenanceBody>()
            .tells(shape("Maintenance")),
        get("/identity", "The portal's identity, and how far the change of it is.").tells(shape("Identity")),
        post("/identity/ready", "Makes a new identity beside the old one, and tells the machines.")
            .tells(shape("Identity")),
        post("/identity/abandon", "Takes the new identity back.").tells(shape("Identity")),
        post("/identity/use", "Uses the new identity.").may_take::<CutOff>().tells(shape("Identity")),
        post("/identity/forget", "Gives the former identity up.").may_take::<CutOff>().tells(shape("Identity")),
        get("/restoration", "Whether the portal was restored from a backup.").tells(shape("Restoration")),
        post("/restoration/confirm", "Lets keys work and rollouts go on after a restore.").tells(shape("Restoration")),
    ];
    let of_a_space = [
        ("/feeds", "/feeds/all", "/feeds/{id}", "Feed", "The built-in feed."),
        ("/lifecycles", "/lifecycles/all", "/lifecycles/{id}", "Lifecycle", "The way through the environments."),
        ("/projectgroups", "/projectgroups/all", "/projectgroups/{id}", "ProjectGroup", "The one project group."),
    ];
    let defaults = of_a_space.into_iter().flat_map(|(page, all, one, kind, does)| {
        [
            get(page, does).asks(&defaults::FILTERS).tells_page(kind),
            get(all, does).asks(&defaults::FILTERS).tells(list(shape(kind))),
            get(one, does).tells(shape(kind)),
        ]
    });
    once.into_iter().chain(defaults).collect()
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    let named = |more: &[(&str, Value)]| {
        let mut fields = vec![
            ("Id", text()),
            ("SpaceId", id("Spaces")),
            ("Name", text()),
            ("Slug", text()),
            ("Description", text()),
            ("Links", links()),
        ];
        fields.extend_from_slice(more);
        object(&fields)
    };
    let phase = object(&[
        ("Id", text()),
        ("Name", text()),
        ("OptionalDeploymentTargets", list(id("Environments"))),
        ("AutomaticDeploymentTargets", list(id("Environments"))),
        ("MinimumEnvironmentsBeforePromotion", number()),
        ("IsOptionalPhase", flag()),
    ]);
    vec![
        ("Feed", named(&[("FeedType", word(["BuiltIn"])), ("PackageAcquisitionLocationOptions", list(text()))])),
        ("Lifecycle", named(&[("Phases", list(phase))])),
        ("ProjectGroup", named(&[("EnvironmentIds", list(id("Environments")))])),
        ("SpaceRoot", object(&[("Id", id("Spaces")), ("Links", links())])),
        ("Space", space()),
        (
            "Root",
            object(&[
                ("Application", text()),
                ("Version", text()),
                ("ApiVersion", text()),
                ("InstallationId", text()),
                ("IsEarlyAccessProgram", flag()),
                ("HasLongTermSupport", flag()),
                ("Links", links()),
            ]),
        ),
        (
            "Certificate",
            object(&[
                ("Id", text()),
                ("Name", text()),
                ("Thumbprint", text()),
                ("SignatureAlgorithm", text()),
                ("Links", links()),
            ]),
        ),
        (
            "ServerStatus",
            object(&[
                ("Id", text()),
                ("Version", text()),
                ("InstallationId", text()),
                ("IsInMaintenanceMode", flag()),
                ("MaintenanceExpires", null()),
                ("IsDatabaseEncrypted", flag()),
                ("IsUpgradeAvailable", flag()),
                ("Links", links()),
            ]),
        ),
        ("Maintenance", object(&[("Id", text()), ("IsInMaintenanceMode", flag()), ("Links", links())])),
        ("Identity", identity()),
        ("Restoration", restoration()),
        ("Choice", super::shapes::choice()),
    ]
}

fn space() -> Value {
    object(&[
        ("Id", id("Spaces")),
        ("Name", text()),
        ("Slug", text()),
        ("Description", text()),
        ("IsDefault", flag()),
        ("IsPrivate", flag()),
        ("TaskQueueStopped", flag()),
        ("SpaceManagersTeams", list(text())),
        ("SpaceManagersTeamMembers", list(text())),
        ("Links", links()),
    ])
}

fn identity() -> Value {
    let behind = object(&[
        ("MachineId", id("Machines")),
        ("Name", text()),
        ("TriedAt", or_null(moment())),
        ("Reason", or_null(text())),
    ]);
    object(&[
        ("Id", text()),
        ("Stage", word(["Settled", "Readied", "Kept"])),
        ("Thumbprint", text()),
        ("NextThumbprint", or_null(text())),
        ("FormerThumbprint", or_null(text())),
        ("Machines", number()),
        ("MachinesBehindCount", number()),
        ("MachinesBehind", list(behind)),
        ("Links", links()),
    ])
}

fn restoration() -> Value {
    object(&[
        ("Id", text()),
        ("AwaitsConfirmation", flag()),
        ("How", word(["Never", "Backup", "Noticed"])),
        ("Reason", or_null(text())),
        ("BackupMadeAt", or_null(moment())),
        ("BackupVersion", or_null(text())),
        ("RestoredAt", or_null(moment())),
        ("ConfirmedAt", or_null(moment())),
        ("ConfirmedBy", or_null(text())),
        ("SuspendedApiKeys", number()),
        ("SuspendedRegistrationKeys", number()),
        ("Links", links()),
    ])
}
