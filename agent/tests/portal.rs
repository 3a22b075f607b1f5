//! What a portal can do with a real Tentacle process over the real channel: status, uploads, work, confirm, trust.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use contract::{Sha256, Thumbprint, Verdicts, Version};
use octopus_proto::tls::{self, ConnectError, Identity};
use octopus_proto::{
    BeginUpload, Confirm, RefusalKind, Start, Ticket, TrustChange, UPLOAD_CHUNK_MAX, UploadOffset, Work, WorkState,
};
use support::{LIMIT, machine, until};

fn own_version() -> Version {
    env!("CARGO_PKG_VERSION").parse().unwrap()
}

fn start(ticket: &str, package: Sha256) -> Start {
    let work = Work::Install {
        package,
        environment: "Production".parse().unwrap(),
        variables: BTreeMap::new(),
        sensitive: BTreeMap::new(),
    };
    Start { ticket: ticket.parse().unwrap(), description: "Deploy Acme.Web".to_owned(), work }
}

#[tokio::test]
async fn the_status_tells_the_facts_and_echoes_the_nonce() {
    let machine = machine();
    let process = machine.run();
    std::fs::write(machine.home.last_words(), "it was killed").unwrap();
    let status = machine.connect(&process).await.unwrap().status().await.unwrap();
    assert_eq!((status.nonce.as_str(), &status.version), ("n", &own_version()));
    assert_eq!(status.runtime, package::current_runtime());
    assert_eq!(status.last_words.as_deref(), Some("it was killed"));
    assert_eq!((status.supervisor_contract, status.generation), (None, 0));
    assert!(status.free_disk_bytes > 0 && status.started_at > 0);
    assert!(status.problems.is_empty(), "{:?}", status.problems);

    let instance = status.instance_id;
    process.kill();
    let process = machine.run();
    let status = machine.connect(&process).await.unwrap().status().await.unwrap();
    assert_ne!(status.instance_id, instance, "each process has an id of its own");
}

#[tokio::test]
async fn only_trusted_portals_get_through_and_only_to_the_pinned_machine() {
    let machine = machine();
    let process = machine.run();
    let stranger = Identity::generate("stranger").unwrap();
    let Err(error) = machine.connect_as(&process, &stranger).await else { panic!("a stranger got through") };
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
    let error = tls::connect(&process.address, &machine.portal, stranger.thumbprint(), LIMIT).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongCertificate { found, .. } if found == process.identity), "{error:?}");
    assert_eq!(tls::discover(&process.address, &stranger, LIMIT).await.unwrap(), process.identity);
}

#[tokio::test]
async fn a_tentacle_may_ask_itself_how_it_is_and_nothing_else() {
    let machine = machine();
    let process = machine.run();
    let own = Identity::load(&machine.home.identity()).unwrap();
    let channel = tls::connect(&process.address, &own, process.identity, LIMIT).await.unwrap();
    let mut client = octopus_proto::wire::tentacle_client::TentacleClient::new(channel);
    client.get_status(octopus_proto::wire::GetStatusRequest::default()).await.unwrap();
    let status = client.trust(octopus_proto::wire::TrustRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn an_upload_goes_on_after_the_process_was_killed_and_is_whole() {
    let machine = machine();
    let bytes: Vec<u8> = (0..3 * UPLOAD_CHUNK_MAX + 17).map(|i| (i % 241) as u8).collect();
    let (sha256, size) = (package::sha256_bytes(&bytes), bytes.len() as u64);
    let half = bytes.len() / 2;
    {
        let process = machine.run();
        let mut client = machine.connect(&process).await.unwrap();
        assert_eq!(client.begin(BeginUpload { sha256, size }).await.unwrap(), UploadOffset(0));
        assert!(!client.send(sha256, 0, &bytes[..half]).await.unwrap().complete);
        process.kill();
    }
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    assert_eq!(client.begin(BeginUpload { sha256, size }).await.unwrap(), UploadOffset(half as u64));
    assert!(client.send(sha256, half as u64, &bytes[half..]).await.unwrap().complete);
    let path = machine.home.packages().join(format!("{sha256}.nupkg"));
    assert_eq!(std::fs::read(path).unwrap(), bytes);

    let mut damaged = bytes.clone();
    damaged[half] ^= 1;
    let sha256 = Sha256([9; 32]);
    client.begin(BeginUpload { sha256, size }).await.unwrap();
    assert_eq!(client.send(sha256, 0, &damaged).await.unwrap_err().kind, RefusalKind::DigestMismatch);
}

#[tokio::test]
async fn folders_that_are_deleted_while_it_runs_are_made_again_and_it_is_well_without_a_restart() {
    let machine = machine();
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let path = machine.package("Acme.Web", &[("Deploy.sh", "true")]);
    for ticket in ["t1", "t2"] {
        for folder in [machine.home.packages(), machine.home.work(), machine.home.applications()] {
            std::fs::remove_dir_all(folder).unwrap();
        }
        // The second time the upload is the first to notice.
        if ticket == "t1" {
            assert_eq!(client.status().await.unwrap().problems, Vec::<String>::new());
        }
        let package = client.upload(&path).await;
        client.start(start(ticket, package)).await.unwrap();
        let (state, lines) = client.end_of(&ticket.parse().unwrap()).await;
        assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    }
    assert_eq!(client.status().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn work_is_done_once_and_outlives_connections() {
    let machine = machine();
    let process = machine.run();
    let package = machine.package("Acme.Web", &[("Deploy.sh", "echo hello; sleep 0.2; echo done")]);
    let mut client = machine.connect(&process).await.unwrap();
    let package = client.upload(&package).await;
    client.start(start("t1", package)).await.unwrap();
    drop(client);
    let mut client = machine.connect(&process).await.unwrap();
    client.start(start("t1", package)).await.unwrap();
    let (state, lines) = client.end_of(&"t1".parse().unwrap()).await;
    assert_eq!(state, WorkState::Succeeded, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.text == "hello").count(), 1);
    let other = Start { work: start("t1", Sha256([1; 32])).work, ..start("t1", package) };
    assert_eq!(client.start(other).await.unwrap_err().kind, RefusalKind::TicketReused);
}

#[tokio::test]
async fn work_of_a_killed_tentacle_has_an_unknown_result() {
    let machine = machine();
    let ticket: Ticket = "t1".parse().unwrap();
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let package = client.upload(&machine.package("Acme.Web", &[("Deploy.sh", "echo $$; sleep 30")])).await;
    client.start(start("t1", package)).await.unwrap();
    let mut lines = Vec::new();
    until("the script runs", async || {
        let progress = client.watch(&ticket, lines.len() as u64, Duration::from_secs(5)).await.unwrap();
        lines.extend(progress.lines);
        lines.iter().any(|line| line.text.parse::<i32>().is_ok())
    })
    .await;
    let status = client.status().await.unwrap();
    assert_eq!(status.running_work[0].description, "Deploy Acme.Web");
    process.kill();
    let script = lines.iter().find_map(|line| line.text.parse().ok()).unwrap();
    rustix::process::kill_process_group(rustix::process::Pid::from_raw(script).unwrap(), rustix::process::Signal::KILL)
        .unwrap();

    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    client.start(start("t1", package)).await.unwrap();
    let (state, _) = client.end_of(&ticket).await;
    assert!(matches!(state, WorkState::UnknownResult { .. }), "{state:?}");
    assert!(client.status().await.unwrap().running_work.is_empty());
}

#[tokio::test]
async fn confirm_proves_this_very_process_and_no_other() {
    let machine = machine();
    let process = machine.run();
    let mut client = machine.connect(&process).await.unwrap();
    let status = client.status().await.unwrap();
    let confirm = Confirm { instance_id: status.instance_id, version: status.version };
    for wrong in [
        Confirm { instance_id: "other".parse().unwrap(), ..confirm.clone() },
        Confirm { version: Version::release(9, 9, 9), ..confirm.clone() },
    ] {
        assert_eq!(client.confirm(wrong).await.unwrap_err().kind, RefusalKind::OtherInstance);
    }
    assert!(!Verdicts::read(&machine.home, &own_version()).proven);
    client.confirm(confirm.clone()).await.unwrap();
    client.confirm(confirm).await.unwrap();
    assert!(Verdicts::read(&machine.home, &own_version()).proven);
}

#[tokio::test]
async fn a_portal_rotates_its_identity_without_a_restart() {
    let machine = machine();
    let process = machine.run();
    let next = Identity::generate("portal").unwrap();
    let mut client = machine.connect(&process).await.unwrap();
    let own = machine.portal.thumbprint();
    let shut_out = TrustChange { remove: vec![own], ..TrustChange::default() };
    assert_eq!(client.trust(shut_out.clone()).await.unwrap_err().kind, RefusalKind::LastTrust);
    let add = TrustChange { add: vec![next.thumbprint()], ..TrustChange::default() };
    assert_eq!(client.trust(add).await.unwrap(), [own, next.thumbprint()]);
    let mut successor = machine.connect_as(&process, &next).await.unwrap();
    assert_eq!(successor.trust(shut_out).await.unwrap(), [next.thumbprint()]);
    let Err(ConnectError::NotTrusted { .. }) = machine.connect(&process).await else { panic!("still trusted") };
    let status = client.status().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "an open connection is not trusted any more either");
}

#[tokio::test]
async fn a_tentacle_that_nobody_can_confirm_proves_itself() {
    let machine = machine();
    machine.settings("");
    let _process = machine.run_with(&[("OCTOPUS_TENTACLE_SELF_PROVE_MS", "50")]);
    until("it is proven", async || Verdicts::read(&machine.home, &own_version()).proven).await;

    let machine = support::machine();
    let process = machine.run_with(&[("OCTOPUS_TENTACLE_SELF_PROVE_MS", "20")]);
    machine.connect(&process).await.unwrap().status().await.unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(!Verdicts::read(&machine.home, &own_version()).proven, "where a portal is in charge it does not");
    machine.settings(&format!("prove = \"self\"\ntrusted = [\"{}\"]", Thumbprint([1; 32])));
    until("it is proven", async || Verdicts::read(&machine.home, &own_version()).proven).await;
}
