//! The facts about this machine and this process. Read anew for each question; nothing is changed but one thing: folders
//! of the home that somebody deleted are made again, so that a machine does not stay unwell for want of them.

use std::fs::File;
use std::io::Read as _;

use contract::{Thumbprint, Verdicts};
use octopus_proto::tls::Identity;
use octopus_proto::{InstalledVersion, NONCE_MAX, Refusal, RefusalKind, Status};

use crate::agent::Agent;
use crate::log::chain;
use crate::sys;

/// Most bytes of the last words that are told; Suction Cup writes no more.
const LAST_WORDS_MAX: u64 = 16 * 1024;

/// Free bytes below which the machine is not healthy: a Tentacle package would not fit any more.
const DISK_LOW: u64 = 200 << 20;

/// Answers one question. Blocks on the disk.
pub(crate) fn status(agent: &Agent, nonce: String, asked_by: &Thumbprint) -> Result<Status, Refusal> {
    if nonce.len() > NONCE_MAX {
        return Err(Refusal::new(RefusalKind::BadRequest, format!("a nonce has at most {NONCE_MAX} bytes")));
    }
    let versions = agent.home.installed_tentacles().unwrap_or_default();
    let verdicts = |version| InstalledVersion { verdicts: Verdicts::read(&agent.home, &version), version };
    Ok(Status {
        nonce,
        version: agent.version.clone(),
        instance_id: agent.instance_id.clone(),
        started_at: agent.started_at,
        runtime: package::current_runtime().to_owned(),
        os: agent.os.clone(),
        hostname: sys::hostname(),
        supervisor_contract: agent.environment.supervisor_contract,
        installed: versions.into_iter().map(verdicts).collect(),
        last_words: last_words(agent),
        free_disk_bytes: sys::free_disk(agent.home.path()).unwrap_or(0),
        running_work: agent.works.running(),
        generation: agent.generations.last(asked_by),
        problems: problems(agent),
    })
}

fn last_words(agent: &Agent) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(agent.home.last_words()).ok()?.take(LAST_WORDS_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is wrong, a sentence each; empty when all is well.
pub(crate) fn problems(agent: &Agent) -> Vec<String> {
    let mut problems = Vec::new();
    match sys::free_disk(agent.home.path()) {
        Ok(free) if free < DISK_LOW => {
            let (path, megabytes) = (agent.home.path().display(), free >> 20);
            problems.push(format!("the disk of {path} is nearly full: {megabytes} MiB are free"));
        }
        Ok(_) => {}
        Err(error) => problems.push(format!("the free space of the disk is not known: {error}")),
    }
    let home = &agent.home;
    // What could not be made is told below, by its name.
    let _ = package::prepare_home(home);
    for folder in [home.path().to_owned(), home.tentacles(), home.packages(), home.work(), home.supervisor()] {
        if let Err(error) = sys::check_writable(&folder) {
            problems.push(format!("{} cannot be written: {error}", folder.display()));
        }
    }
    problems.extend(agent.generations.problem());
    problems.extend(agent.trust.problem());
    problems.extend(identity_problem(agent));
    problems
}

/// What is wrong with the identity on the disk, which the next Tentacle will read.
pub(crate) fn identity_problem(agent: &Agent) -> Option<String> {
    let path = agent.home.identity();
    match Identity::load(&path) {
        Ok(identity) if agent.trust.is_own(&identity.thumbprint()) => None,
        Ok(_) => Some(format!("{} holds another identity than the one that runs", path.display())),
        Err(error) => Some(chain(&error)),
    }
}
