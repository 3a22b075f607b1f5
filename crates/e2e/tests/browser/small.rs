//! What scripts add to the pages: a key that searches, panels that fold, a package that is dropped, a log that is followed, and
//! the arrow keys in the picture of a rollout.

use contract::{PackageId, Version};
use e2e::World;
use package::PackRequest;
use serde_json::json;
use tempfile::TempDir;
use tokio::try_join;
use xtask::{Browser, Look};

/// The part of the window that what is followed must be in.
const IN_SIGHT: &str = "(() => { const r = document.querySelector('#log').lastElementChild.getBoundingClientRect(); \
     return r.bottom > 0 && r.bottom <= innerHeight + 1; })()";

/// A package of version 1.0.0 with one script, as its bytes.
fn packed(id: &str, script: &str) -> anyhow::Result<(TempDir, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("Deploy.sh");
    std::fs::write(&file, script)?;
    let (id, version): (PackageId, _) = (id.parse()?, Version::release(1, 0, 0));
    let files = [(file, "Deploy.sh".to_owned())];
    let request = PackRequest { id: &id, version: &version, description: "d", authors: "a", files: &files };
    let bytes = std::fs::read(package::pack(&request, folder.path())?)?;
    Ok((folder, bytes))
}

/// Drops a file of these bytes on the form that uploads.
async fn drop_on_form(browser: &mut Browser, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let bytes = serde_json::to_string(bytes)?;
    let script = format!(
        "(() => {{ const data = new DataTransfer(); data.items.add(new File([new Uint8Array({bytes})], {name:?})); \
         document.getElementById('upload').dispatchEvent(new DragEvent('drop', \
         {{ dataTransfer: data, bubbles: true, cancelable: true }})); }})()"
    );
    browser.evaluate(&script).await.map(drop)
}

#[tokio::test]
async fn one_key_searches_from_anywhere_and_panels_fold_and_stay_folded() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::start().await?;
    let _machine = world.machine("one").await?;
    browser.log_in(&world.portal).await?;
    let environments = format!("{}/environments", world.portal.url());
    browser.open(&environments, "document.querySelector('td.name')").await?;
    browser.press("/").await?;
    browser.wait("document.activeElement.id === 'search'").await?;
    browser.press("/").await?;
    browser.wait("document.querySelector('#search').value === '/'").await?;
    browser.evaluate("document.querySelector('#search').value = ''").await?;
    browser.insert("one").await?;
    browser.press("Enter").await?;
    browser
        .wait("location.pathname !== '/environments' && document.querySelector('main').innerText.includes('one')")
        .await?;

    browser.open(&environments, "document.querySelector('td.name')").await?;
    browser.click("a.unfold").await?;
    browser.wait("location.search.includes('folded=') && !document.querySelector('td.name')").await?;
    let folded = "document.querySelector('a.unfold').getAttribute('aria-expanded') === 'false'";
    browser.wait(folded).await?;
    // News of a machine in it opens nothing.
    let id = world.api.machine_by_name("one").await?["Id"].as_str().unwrap_or_default().to_owned();
    let held = json!({ "Reason": "for the books" });
    world.api.put(&format!("/api/machines/{id}/hold"), &held).await?;
    let shared = browser.evaluate("location.href").await?;
    browser.open(shared.as_str().unwrap_or_default(), folded).await?;
    assert_eq!(browser.evaluate("document.querySelectorAll('td.name').length").await?, 0);
    browser.click("a.unfold").await?;
    browser.wait("document.querySelector('td.name')?.innerText.includes('held')").await?;
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}

#[tokio::test]
async fn a_package_is_dropped_and_what_is_none_is_refused_in_words() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::start().await?;
    browser.log_in(&world.portal).await?;
    browser.open(&format!("{}/packages", world.portal.url()), "!document.querySelector('.drop-hint').hidden").await?;
    drop_on_form(&mut browser, "Acme.Broken.1.0.0.nupkg", b"this is no package").await?;
    browser.wait("document.querySelector('#upload-words.failed')?.innerText.length > 0").await?;
    let said = browser.evaluate("document.querySelector('#upload-words').innerText").await?;
    assert!(said.as_str().is_some_and(|said| said.contains("Acme.Broken") || said.contains("package")), "{said}");
    browser.complaints.clear();

    let (_folder, bytes) = packed("Acme.Dropped", "true\n")?;
    drop_on_form(&mut browser, "Acme.Dropped.1.0.0.nupkg", &bytes).await?;
    browser.wait("document.querySelector('table.rows')?.innerText.includes('Acme.Dropped')").await?;
    assert_eq!(world.api.get("/api/packages?nuGetPackageId=Acme.Dropped").await?["TotalResults"], 1);
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}

#[tokio::test]
async fn a_log_that_grows_is_followed_until_a_person_reads_further_up_and_it_is_searched() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::start().await?;
    let _machine = world.machine("one").await?;
    let gate = tempfile::tempdir()?;
    let wait = |name: &str| format!("while [ ! -e {} ]; do sleep 0.05; done", gate.path().join(name).display());
    let lines = |word: &str| format!("i=0; while [ $i -lt 60 ]; do echo {word} $i; i=$((i+1)); done");
    let script = [lines("early"), wait("go"), lines("middle"), wait("end"), lines("late")].join("\n");
    let (folder, bytes) = packed("Acme.Talk", &format!("{script}\n"))?;
    let file = folder.path().join("Acme.Talk.1.0.0.nupkg");
    std::fs::write(&file, bytes)?;
    let (status, answer) = world.push(&file).await?;
    assert_eq!(status, 201, "{answer}");
    let arguments = json!({ "PackageId": "Acme.Talk", "EnvironmentId": world.environment });
    let task = world.task_create("Deploy", arguments).await?;

    browser.look(Look::ALL[0]).await?;
    browser.log_in(&world.portal).await?;
    let has = |line: &str| format!("document.querySelector('#log')?.innerText.includes({line:?})");
    browser.open(&format!("{}/tasks/{task}", world.portal.url()), &has("early 59")).await?;
    browser.click("#log-follow").await?;
    browser.wait(IN_SIGHT).await?;
    std::fs::write(gate.path().join("go"), "")?;
    browser.wait(&format!("{} && {IN_SIGHT}", has("middle 59"))).await?;

    browser.evaluate("dispatchEvent(new WheelEvent('wheel', { deltaY: -400 })); scrollTo(0, 0)").await?;
    browser.wait("!document.querySelector('#log-follow').checked").await?;
    std::fs::write(gate.path().join("end"), "")?;
    browser.wait(&has("late 59")).await?;
    assert_eq!(browser.evaluate("scrollY").await?, 0, "nothing moves under the eyes of who reads above");

    browser.type_into("#log-search", "late 5").await?;
    browser.wait("document.querySelector('#log-found').innerText.startsWith('11 of ')").await?;
    let shown = "[...document.querySelector('#log').children].filter(line => !line.hidden).length";
    assert_eq!(browser.evaluate(shown).await?, 11);
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    world.task_over(&task).await?;
    browser.close().await
}

#[tokio::test]
async fn the_picture_of_a_rollout_says_each_machine_and_is_walked_by_the_arrow_keys() -> anyhow::Result<()> {
    let Some(mut browser) = super::browser().await? else { return Ok(()) };
    let world = World::start().await?;
    let _machines = try_join!(world.machine("a"), world.machine("b"), world.machine("c"))?;
    let rollout = world.api.rollout_create(&json!({ "StartAt": "2120-01-01T00:00:00Z" })).await?;
    browser.log_in(&world.portal).await?;
    let page = format!("{}/rollouts/{}", world.portal.url(), rollout.id);
    browser.open(&page, "document.querySelectorAll('.cell').length === 3").await?;
    browser.evaluate("document.querySelector('.cell').focus()").await?;
    browser.press("ArrowRight").await?;
    let tip = "document.activeElement.dataset.tip";
    browser.wait(&format!("{tip}?.startsWith('b: waiting')")).await?;
    let said = browser.evaluate("getComputedStyle(document.activeElement, '::after').content").await?;
    assert!(said.as_str().is_some_and(|said| said.contains("b: waiting") && said.contains("for ")), "{said}");
    browser.press("ArrowLeft").await?;
    browser.wait(&format!("{tip}?.startsWith('a: waiting')")).await?;
    browser.press("Enter").await?;
    browser.wait("location.pathname.startsWith('/machines/')").await?;
    assert_eq!(browser.complaints, [] as [String; 0], "the browser complained");
    browser.close().await
}
