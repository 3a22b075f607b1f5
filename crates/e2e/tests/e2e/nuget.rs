//! Debian's `nuget` against the feed of a real portal. Where it is not installed the test passes over, unless
//! `OCTOPUS_NUGET` is `required`.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Context as _;
use e2e::World;
use tempfile::TempDir;

use crate::deploy::pack;

/// Seconds that one run of the client may take.
const SECONDS: &str = "120";

/// The client, with a home and a configuration of its own.
struct Nuget {
    home: TempDir,
    source: String,
    key: String,
}

impl Nuget {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
        let mut command = Command::new("timeout");
        command.args([SECONDS, "nuget"]).args(arguments).arg("-NonInteractive").env("HOME", self.home.path());
        Ok(told(&command.current_dir(self.home.path()).output()?))
    }

    /// The client prints lists to a terminal only: to a pipe it writes empty lines without end. `timeout` must leave
    /// it in the foreground, for what sets a terminal from the background is stopped; and `script` must ask the same
    /// shell everywhere, for some shells put `timeout` in their own place, and then it has no background to go to.
    fn list(&self, arguments: &str) -> anyhow::Result<Vec<String>> {
        let line = format!(
            "stty cols 200; timeout --foreground {SECONDS} nuget list {arguments} -Source portal -NonInteractive"
        );
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("HOME", self.home.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh");
        let (well, text) = told(&command.current_dir(self.home.path()).output()?);
        anyhow::ensure!(well, "nuget list: {text}");
        // What moves the cursor and sets colours may stand before and behind.
        let package = |line: &str| {
            let found = line.get(line.find("Acme.")?..)?;
            found.split(|c: char| c.is_control()).next().map(|found| found.trim().to_owned())
        };
        Ok(text.lines().filter_map(package).collect())
    }

    /// The client takes a path for one below its working folder, whatever it begins with.
    fn push(&self, package: &Path) -> anyhow::Result<(bool, String)> {
        let package = package.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        self.run(&["push", package, &self.key, "-Source", &format!("{}/packages", self.source)])
    }
}

fn told(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn the_client_of_debian_pushes_lists_installs_and_deletes() -> anyhow::Result<()> {
    // Asked for its help, it would write empty lines without end too.
    if !Command::new("sh").args(["-c", "command -v nuget"]).output()?.status.success() {
        let required = std::env::var_os("OCTOPUS_NUGET").is_some_and(|wish| wish == "required");
        anyhow::ensure!(!required, "nuget is not installed, and OCTOPUS_NUGET is `required`");
        eprintln!("nuget is not installed: passed over");
        return Ok(());
    }
    let world = World::start().await?;
    let source = format!("{}/nuget", world.portal.url());
    let nuget = Nuget { home: tempfile::tempdir()?, source, key: world.portal.api_key().to_owned() };
    let (web, db) = (pack(&nuget.home, "Acme.Web", &[("hello.txt", "hello")])?, pack(&nuget.home, "Acme.Db", &[])?);

    for package in [&web, &db] {
        let (well, text) = nuget.push(package)?;
        anyhow::ensure!(well && text.contains("was pushed"), "{text}");
    }
    let (well, text) = nuget.push(&web)?;
    anyhow::ensure!(!well && text.contains("A package with the same name and version already exists"), "{text}");
    let listed = world.api.get("/api/packages").await?;
    let sizes: Vec<_> =
        listed["Items"].as_array().context("packages")?.iter().map(|item| &item["PackageSizeBytes"]).collect();
    assert_eq!(sizes, [&std::fs::metadata(&db)?.len(), &std::fs::metadata(&web)?.len()], "no byte more, no byte less");

    let add = ["sources", "Add", "-Name", "portal", "-Source", &nuget.source, "-UserName", "anybody"];
    let password = ["-Password", &nuget.key, "-StorePasswordInClearText"];
    let (well, text) = nuget.run(&[&add[..], &password[..]].concat())?;
    anyhow::ensure!(well, "{text}");
    assert_eq!(nuget.list("")?, ["Acme.Db 1.0.0", "Acme.Web 1.0.0"]);
    assert_eq!(nuget.list("web -AllVersions -Prerelease")?, ["Acme.Web 1.0.0"]);
    let (well, text) = nuget.run(&["install", "Acme.Web", "-Source", "portal", "-OutputDirectory", "installed"])?;
    anyhow::ensure!(well, "{text}");
    assert_eq!(std::fs::read_to_string(nuget.home.path().join("installed/Acme.Web.1.0.0/hello.txt"))?, "hello");

    let (well, text) = nuget.run(&["delete", "Acme.Web", "1.0.0", &nuget.key, "-Source", &nuget.source])?;
    anyhow::ensure!(well, "{text}");
    assert_eq!(nuget.list("")?, ["Acme.Db 1.0.0"]);
    Ok(())
}
