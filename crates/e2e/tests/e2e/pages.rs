//! What a person does with the forms of the pages alone, and no script.

use e2e::{ENVIRONMENT, LIMIT, Visitor, World};
use xtask::wait_for;

#[tokio::test]
async fn a_person_adds_a_machine_compares_its_thumbprint_and_deploys_to_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut machine = world.start_machine("added", &world.from).await?;
    machine.trust(&world.portal).await?;

    let mut visitor = Visitor::log_in(&world.portal).await?;
    let page = visitor.page(&format!("/machines/new?environment={}", world.environment)).await?;
    let form = page.form("Look for its certificate")?;
    let (host, port) = (machine.address().ip().to_string(), machine.address().port().to_string());
    let fill = [("name", "added"), ("host", host.as_str()), ("port", port.as_str()), ("roles", "web")];
    let page = visitor.submit(&form, &fill).await?;
    let shown = page.text_of(".fingerprint")?.replace(' ', "");
    assert_eq!(shown.to_lowercase(), machine.thumbprint().await?.to_lowercase());
    let form = page.form("It is the same")?;
    visitor.submit(&form, &[]).await?;
    world.runs(&machine, &world.from).await?;

    let folder = tempfile::tempdir()?;
    let deploy = [("Deploy.sh", "echo \"hello $OCTOPUS_WHO\"")];
    let (status, answer) = world.push(&crate::deploy::pack(&folder, "Acme.Web", &deploy)?).await?;
    assert_eq!(status, 201, "{answer}");
    let form = visitor.page("/deploy?package=Acme.Web&version=1.0.0").await?.form("Deploy package")?;
    let page = visitor.submit(&form, &[("roles", "web"), ("variables", "Who=<b>people</b>")]).await?;
    let (task, mut log) = (page.path.clone(), String::new());
    let over = wait_for("the deployment", LIMIT, async || {
        let page = visitor.page(&task).await?;
        log = page.text();
        Ok(log.contains("hello <b>people</b>").then_some(page))
    });
    let page = over.await.map_err(|error| error.context(format!("the page says: {log}; {}", world.log())))?;
    assert!(!page.html.contains("<b>people</b>"), "what a script says is shown as text");
    let id = task.rsplit('/').next().unwrap_or_default();
    assert_eq!(world.task_over(id).await?["State"], "Success");
    let folder = machine.home().package(&ENVIRONMENT.parse()?, &"Acme.Web".parse()?);
    assert!(folder.join("1.0.0").is_dir());
    Ok(())
}
