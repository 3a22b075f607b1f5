//! schemathesis against a real portal: it reads the portal's own OpenAPI document, asks what that allows and what it does
//! not, and fails on a mistake of the portal or an answer outside the document. Where it is not installed the test passes
//! over; `OCTOPUS_SCHEMATHESIS` names the program.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use e2e::{LIMIT, World};
use serde_json::json;
use tokio::process::Command;

/// Seconds that it asks at most.
const SECONDS: &str = "120";

/// Requests of one operation at most.
const EXAMPLES: &str = "25";

/// The same every time, so that what it finds can be found again.
const SEED: &str = "20260401";

/// How long it may take until it has said everything, in the times that one thing may take.
const TURNS: u32 = 4;

/// Whether an answer is of the document. The others are about taste, or ask for what the portal does on purpose: it ignores
/// names that it does not know, and refuses much that has the right shape.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is not asked, and why.
const EXCEPT: [(&str, &str, &str); 4] = [
    ("GET", "/api/machines/discover", "the portal would call whatever host is made up"),
    ("POST", "/api/machines", "the portal would call whatever machine is made up"),
    ("PUT", "/api/machines/{id}", "the portal would call wherever the machine is said to be"),
    ("DELETE", "/api/users/{id}/apikeys/{key}", "the key with which all of this is asked would be revoked"),
];

#[tokio::test]
async fn schemathesis_finds_no_mistake_and_no_answer_outside_the_document() -> anyhow::Result<()> {
    let Some(program) = std::env::var_os("OCTOPUS_SCHEMATHESIS") else {
        eprintln!("OCTOPUS_SCHEMATHESIS names no program: passed over");
        return Ok(());
    };
    let world = World::start().await?;
    let endpoint = json!({
        "CommunicationStyle": "TentaclePassive",
        "Uri": "https://127.0.0.1:9/",
        "Thumbprint": "ab".repeat(32),
    });
    let wish = json!({ "Name": "away", "EnvironmentIds": [world.environment], "Roles": ["web"], "Endpoint": endpoint });
    world.api.post("/api/machines", &wish).await?;
    world.api.post("/api/rollouts", &json!({ "StartAt": "2099-01-01T00:00:00Z" })).await?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program);
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/schemathesis.toml");
    command.args(["--config-file", config, "run", &format!("{}/api/openapi.json", world.portal.url())]);
    command.args(["--header", &format!("X-Octopus-ApiKey: {}", world.portal.api_key()), "--checks", CHECKS]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--max-time", SECONDS]);
    command.args(["--seed", SEED, "--generation-database", "none", "--continue-on-failure", "--no-color"]);
    for (method, path, _) in EXCEPT {
        command.args(["--exclude-name", &format!("{method} {path}")]);
    }
    command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT * TURNS, command.output()).await.context("it did not end")??;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{told}\n{}", world.log());
    Ok(())
}
