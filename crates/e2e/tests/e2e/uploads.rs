//! Packages on their way into the portal: as large as they come without its memory growing, and nothing of what broke off.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contract::Version;
use e2e::{LIMIT, World};
use package::PackRequest;
use reqwest::multipart::{Form, Part};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use xtask::wait_for;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Bytes of the large package: more than a signed number of 32 bits holds.
const LARGE: u64 = (1 << 31) + 1;

/// Memory that the portal may need more than before, in KiB: much less than the package.
const GROWTH_MAX_KIB: u64 = 96 << 10;

/// How long a large package may take, either way. This machine may be busy.
const LARGE_LIMIT: Duration = Duration::from_secs(600);

/// Packs a package that holds one file of zeros, as it is.
fn pack_large(folder: &TempDir, id: &str) -> anyhow::Result<PathBuf> {
    let small = folder.path().join("note.txt");
    std::fs::write(&small, "a large thing stands beside this")?;
    let id = id.parse()?;
    let files = [(small, "note.txt".to_owned())];
    let request =
        PackRequest { id: &id, version: &Version::release(1, 0, 0), description: "d", authors: "a", files: &files };
    let packed = package::pack(&request, folder.path())?;
    let large = folder.path().join("large.nupkg");
    let mut from = ZipArchive::new(File::open(&packed)?)?;
    let mut to = ZipWriter::new(BufWriter::with_capacity(1 << 20, File::create(&large)?));
    for at in 0..from.len() {
        to.raw_copy_file(from.by_index_raw(at)?)?;
    }
    to.start_file("large.bin", SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
    let zeros = vec![0; 1 << 20];
    let mut left = LARGE;
    while left > 0 {
        let some = usize::try_from(left.min(zeros.len() as u64))?;
        to.write_all(&zeros[..some])?;
        left -= some as u64;
    }
    to.finish()?.flush()?;
    Ok(large)
}

/// A number of `/proc/PID/status`, in KiB.
fn memory(world: &World, name: &str) -> anyhow::Result<u64> {
    let pid = world.portal.pid().context("the portal does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?)
}

/// Everything in the folder of packages.
fn stored(world: &World) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(world.portal.data_dir().join("packages"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    found.sort();
    Ok(found)
}

async fn send(world: &World, file: &Path) -> anyhow::Result<(u16, String)> {
    let part = Part::file(file).await?.file_name("Acme.Large.1.0.0.nupkg");
    let request = reqwest::Client::new().post(format!("{}/api/packages/raw", world.portal.url()));
    let request = request.header("X-Octopus-ApiKey", world.portal.api_key()).timeout(LARGE_LIMIT);
    let response = request.multipart(Form::new().part("fileToUpload", part)).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

#[tokio::test]
async fn a_package_of_two_gigabytes_goes_in_and_out_and_the_portal_needs_no_memory_for_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let folder = tempfile::tempdir_in(world.portal.data_dir())?;
    let packed = tokio::task::spawn_blocking(move || pack_large(&folder, "Acme.Large").map(|file| (folder, file)));
    let (_folder, package) = packed.await??;
    let size = std::fs::metadata(&package)?.len();
    ensure!(size > LARGE, "{size}");
    world.api.get("/api/packages").await?;
    let before = memory(&world, "VmRSS")?;

    let (status, answer) = send(&world, &package).await?;
    ensure!(status == 201, "{status}: {answer}");
    std::fs::remove_file(&package)?;
    let listed = world.api.get("/api/packages?nuGetPackageId=Acme.Large").await?;
    assert_eq!(listed["Items"][0]["PackageSizeBytes"], size, "{listed}");

    let url = format!("{}/api/packages/packages-Acme.Large.1.0.0/raw", world.portal.url());
    let request = reqwest::Client::new().get(url).header("X-Octopus-ApiKey", world.portal.api_key());
    let mut response = request.timeout(LARGE_LIMIT).send().await?.error_for_status()?;
    let mut came = 0;
    while let Some(chunk) = response.chunk().await? {
        came += chunk.len() as u64;
    }
    assert_eq!(came, size);
    let grown = memory(&world, "VmHWM")?.saturating_sub(before);
    ensure!(grown < GROWTH_MAX_KIB, "the portal needed {grown} KiB more for {size} bytes");
    Ok(())
}

/// Begins an upload, sends half of what it said it would, and breaks off.
async fn break_off(world: &World, head: &str, body: &[u8]) -> anyhow::Result<()> {
    let url = world.portal.url();
    let address = url.strip_prefix("http://").context("plain HTTP")?.trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await?;
    let key = world.portal.api_key();
    let head = format!("{head} HTTP/1.1\r\nHost: {address}\r\nX-Octopus-ApiKey: {key}\r\nX-NuGet-ApiKey: {key}\r\n");
    let length = format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n", 2 * body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(length.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    // It is on the disk before it is broken off.
    let folder = world.portal.data_dir().join("packages");
    wait_for("something on the disk", LIMIT, async || {
        let mut entries = std::fs::read_dir(&folder)?;
        Ok(entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(".incoming")))
            .then_some(()))
    })
    .await?;
    stream.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_and_can_be_made_again() -> anyhow::Result<()> {
    let world = World::start().await?;
    let folder = tempfile::tempdir()?;
    let package = crate::deploy::pack(&folder, "Acme.Cut", &[("Deploy.sh", "true")])?;
    let before = stored(&world)?;
    let part =
        "--b\r\nContent-Disposition: form-data; name=\"fileToUpload\"; filename=\"Acme.Cut.1.0.0.nupkg\"\r\n\r\n";
    let body = [part.as_bytes(), &std::fs::read(&package)?, &vec![7; 300_000]].concat();
    for head in ["POST /api/packages/raw", "PUT /nuget/packages"] {
        break_off(&world, head, &body).await?;
        wait_for("the portal to tidy up", LIMIT, async || Ok((stored(&world)? == before).then_some(()))).await?;
        assert_eq!(world.api.get("/api/packages?nuGetPackageId=Acme.Cut").await?["TotalResults"], 0, "{head}");
    }
    let (status, answer) = world.push(&package).await?;
    ensure!(status == 201, "{status}: {answer}");
    Ok(())
}
