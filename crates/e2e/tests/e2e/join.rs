//! A machine makes itself known by the command that the portal shows: `tentacle register` with a registration key.

use anyhow::{Context as _, ensure};
use e2e::{Form, LIMIT, Visitor, World};
use reqwest::Method;
use xtask::{Machine, wait_for};

/// Makes a key for one machine on the portal's page, and gives back the arguments of the command that it shows.
async fn command(world: &World) -> anyhow::Result<Vec<String>> {
    let mut visitor = Visitor::log_in(&world.portal).await?;
    let url = world.portal.url();
    let fields = [("environment", world.environment.as_str()), ("roles", "web"), ("machines", "1"), ("server", &url)];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let action = "/registration-keys".to_owned();
    let form = Form {
        method: Method::POST,
        action,
        fields: fields.into_iter().map(own).collect(),
        words: "Make key".to_owned(),
    };
    let page = visitor.submit(&form, &[]).await?;
    let command = page.text_of("#command").context("no command")?;
    let mut words = command.split_whitespace().map(str::to_owned);
    ensure!(words.next().as_deref() == Some("tentacle") && words.next().as_deref() == Some("register"), "{command}");
    Ok(words.collect())
}

async fn register(machine: &Machine, arguments: &[String]) -> anyhow::Result<Result<String, String>> {
    let mut command = machine.tentacle_command("register");
    command.args(arguments).args(["--name", machine.name(), "--address", &machine.address().to_string()]);
    let output = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output()).await.context("did not end")??;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(if output.status.success() { Ok(out.into_owned()) } else { Err(err.into_owned()) })
}

#[tokio::test]
async fn the_command_that_the_portal_shows_adds_one_machine_and_no_second() -> anyhow::Result<()> {
    let world = World::start().await?;
    let arguments = command(&world).await?;
    let (first, second) =
        tokio::try_join!(world.start_machine("first", &world.from), world.start_machine("second", &world.from))?;
    let said = register(&first, &arguments).await?.map_err(anyhow::Error::msg)?;
    ensure!(said.contains("Registered first"), "{said}");
    wait_for("the machine to be well", LIMIT, async || {
        let machine = world.api.machine_by_name("first").await?;
        ensure!(machine["Roles"] == serde_json::json!(["web"]), "{machine}");
        Ok((machine["HealthStatus"] == "Healthy").then_some(()))
    })
    .await?;

    let before = std::fs::read(second.home().config()).ok();
    let refused = register(&second, &arguments).await?.expect_err("a key for one machine added two");
    ensure!(refused.contains("all 1 machines"), "{refused}");
    ensure!(std::fs::read(second.home().config()).ok() == before, "a portal that refused is trusted");
    ensure!(world.api.machine_list().await?.len() == 1);

    // The same key in no other way: neither for an environment of the caller's choice, nor as an API key.
    let mut more = arguments.clone();
    more.extend(["--environment".to_owned(), e2e::ENVIRONMENT.to_owned()]);
    let usage = register(&second, &more).await?.expect_err("a key with environments was taken");
    ensure!(usage.contains("cannot be used with"), "{usage}");
    Ok(())
}
