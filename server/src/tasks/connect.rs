//! One machine of a `Connectivity` task: the way to it, step by step, each with its time; where a step fails, what that
//! means and what to do. Asking twice does no harm, so a task that was interrupted asks again.

use std::net::SocketAddr;
use std::time::Duration;

use contract::Thumbprint;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use crate::app::App;
use crate::db::DbError;
use crate::db::machines::machine_get;
use crate::health::machine_check;
use crate::model::{Address, Contact, LogCategory, Machine, MachineTask, MachineTaskState, Task};

/// How long each step may take. Then it has failed: whoever answers later than this does not answer in use either.
const STEP_MAX: Duration = Duration::from_secs(15);

/// Addresses of one name that are tried, in their order. The others are only listed.
const ADDRESSES_TRIED_MAX: usize = 4;

/// How a step ended.
enum Step<T> {
    /// It led on: what is handed to the next step, and a sentence.
    Done(T, String),
    /// It led nowhere: what was met, and what to do.
    Failed(String, String),
}

/// Walks the way to the machine of `part` and writes down what was met.
pub(super) async fn run(
    app: &App,
    task: &Task,
    mut part: MachineTask,
    cancel: &CancellationToken,
) -> Result<(), DbError> {
    let journal = Journal::new(app.clone(), task.id);
    part.started_at = part.started_at.or(Some(app.now()));
    part.state = MachineTaskState::Running;
    journal.record(&part, &[]).await?;
    let machine = machine_get(&mut *app.db.read().await?, task.task.space, part.machine).await?;
    (part.state, part.reason) = match machine {
        None => (MachineTaskState::Failed, "The machine was deleted.".to_owned()),
        Some(machine) => {
            let walk = Walk { app, journal: &journal, part: &part };
            tokio::select! {
                () = cancel.cancelled() => (MachineTaskState::Canceled, "It was cancelled.".to_owned()),
                walked = walk.all(&machine) => match walked? {
                    None => (MachineTaskState::Success, String::new()),
                    Some(reason) => (MachineTaskState::Failed, reason),
                },
            }
        }
    };
    part.completed_at = Some(app.now());
    journal.record(&part, &[]).await
}

struct Walk<'a> {
    app: &'a App,
    journal: &'a Journal,
    part: &'a MachineTask,
}

impl Walk<'_> {
    /// All steps; the reason where one leads nowhere.
    async fn all(&self, machine: &Machine) -> Result<Option<String>, DbError> {
        let address = &machine.address;
        let found = match self.step("1 of 4, name", resolve(address)).await? {
            Ok(found) => found,
            Err(reason) => return Ok(Some(reason)),
        };
        if let Err(reason) = self.step("2 of 4, connection", connect(address, found)).await? {
            return Ok(Some(reason));
        }
        if let Err(reason) = self.step("3 of 4, certificate", self.certificate(machine)).await? {
            return Ok(Some(reason));
        }
        let (took, asked) = self.timed(self.status(machine)).await;
        let asked = asked.transpose()?.unwrap_or_else(|| timed_out("its status"));
        Ok(self.told("4 of 4, status", took, asked).await?.err())
    }

    async fn timed<T>(&self, step: impl Future<Output = T>) -> (Duration, Option<T>) {
        let began = self.app.clock.elapsed();
        let done = tokio::time::timeout(STEP_MAX, step).await.ok();
        (self.app.clock.elapsed().saturating_sub(began), done)
    }

    async fn step<T>(&self, name: &str, step: impl Future<Output = Step<T>>) -> Result<Result<T, String>, DbError> {
        let (took, done) = self.timed(step).await;
        self.told(name, took, done.unwrap_or_else(|| timed_out("an answer"))).await
    }

    async fn told<T>(&self, name: &str, took: Duration, step: Step<T>) -> Result<Result<T, String>, DbError> {
        let took = took.as_millis();
        let (lines, done) = match step {
            Step::Done(value, text) => {
                (vec![self.journal.line(LogCategory::Info, format!("Step {name}: {text} ({took} ms)"))], Ok(value))
            }
            Step::Failed(met, advice) => {
                let failed = self.journal.line(LogCategory::Error, format!("Step {name}: {met} ({took} ms)"));
                (vec![failed, self.journal.line(LogCategory::Warning, format!("What to do: {advice}"))], Err(met))
            }
        };
        self.journal.record(self.part, &lines).await?;
        Ok(done)
    }

    async fn certificate(&self, machine: &Machine) -> Step<()> {
        match self.app.tentacles.discover(&machine.address).await {
            Ok(found) if found == machine.thumbprint => {
                Step::Done((), format!("it shows the certificate that is pinned, {found}."))
            }
            Ok(found) => other_certificate(found, machine.thumbprint),
            Err(error) => Step::Failed(
                format!("no certificate was shown: {error}."),
                "Something listens there that does not speak TLS as Tentacle does. Look at which program has the port, \
                 and at proxies and load balancers on the way."
                    .to_owned(),
            ),
        }
    }

    /// What it says of itself, which is written down as every check is.
    async fn status(&self, machine: &Machine) -> Result<Step<()>, DbError> {
        let facts = machine_check(self.app, machine).await?;
        Ok(match (&facts.contact, &facts.report) {
            (Contact::Answered, Some(report)) if facts.problems().is_empty() => {
                let (version, system) = (&report.version, &report.os);
                Step::Done((), format!("Tentacle {version} answers from {} ({system}) and is well.", report.hostname))
            }
            (Contact::Answered, _) => Step::Failed(
                format!("Tentacle answers and is not well: {}.", facts.problem_line()),
                "The way to it is in order. What is wrong stands in its own words above and on its page.".to_owned(),
            ),
            (Contact::Refused { reason }, _) => {
                let portal = self.app.identities.thumbprint();
                Step::Failed(
                    format!("it was refused: {reason}."),
                    format!(
                        "If the Tentacle does not trust this portal, add the portal's thumbprint {portal} to `trusted` in \
                         its tentacle.toml, or run `tentacle register` on the machine."
                    ),
                )
            }
            (Contact::Silent { reason }, _) => Step::Failed(
                format!("no status came: {reason}."),
                "Something accepts connections there, and Tentacle does not answer. Look at its log on the machine: \
                 journalctl -u octopus-tentacle."
                    .to_owned(),
            ),
        })
    }
}

fn timed_out<T>(what: &str) -> Step<T> {
    Step::Failed(
        format!("{what} was awaited for {} s.", STEP_MAX.as_secs()),
        "Nobody says no, and nobody answers: mostly a firewall that drops packets, on the machine, on the way or in front \
         of the portal, or a machine that hangs."
            .to_owned(),
    )
}

fn other_certificate(found: Thumbprint, pinned: Thumbprint) -> Step<()> {
    Step::Failed(
        format!("it shows the certificate {found}, and {pinned} is pinned."),
        "If Tentacle was installed anew there, compare what it shows with what `tentacle show-thumbprint` says on the \
         machine, and trust the new one on its page. If not, somebody else answers at this address."
            .to_owned(),
    )
}

async fn resolve(address: &Address) -> Step<Vec<SocketAddr>> {
    match tokio::net::lookup_host((address.host.as_str(), address.port)).await.map(Vec::from_iter) {
        Ok(found) if !found.is_empty() => {
            let list = found.iter().map(|found| found.ip().to_string()).collect::<Vec<_>>().join(", ");
            Step::Done(found, format!("{} is {list}.", address.host))
        }
        other => {
            let why = other.err().map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
            Step::Failed(
                format!("the name {} leads nowhere: {why}.", address.host),
                "Correct the machine's host under Edit, or the name service that the portal's own machine asks."
                    .to_owned(),
            )
        }
    }
}

async fn connect(address: &Address, found: Vec<SocketAddr>) -> Step<()> {
    let mut met = Vec::new();
    let mut is_closed = false;
    for candidate in found.into_iter().take(ADDRESSES_TRIED_MAX) {
        match TcpStream::connect(candidate).await {
            Ok(_) => return Step::Done((), format!("{candidate} accepts connections.")),
            Err(error) => {
                is_closed |= error.kind() == std::io::ErrorKind::ConnectionRefused;
                met.push(format!("{candidate}: {error}"));
            }
        }
    }
    let advice = if is_closed {
        format!(
            "The machine is there and nothing listens at port {}. Look whether Tentacle runs (systemctl status \
             octopus-tentacle, suction-cup status), and whether it listens at another port.",
            address.port
        )
    } else {
        "There is no way to the machine. Look whether it is on, and at routes and firewalls between it and the portal."
            .to_owned()
    };
    Step::Failed(format!("no connection to {address}: {}.", met.join("; ")), advice)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::Version;

    use super::*;
    use crate::db::environments::environment_insert;
    use crate::db::machines::machine_insert;
    use crate::db::tasks::{task_get, task_log, task_machines};
    use crate::ids::{MachineId, SpaceId};
    use crate::model::{NewEnvironment, NewMachine};
    use crate::tasks::task_create_connect;
    use crate::tentacle::fake::{FakeMachine, FakeTentacles};
    use crate::testing::TestApp;

    async fn portal(address: &str) -> (TestApp, FakeTentacles, MachineId) {
        let tentacles = FakeTentacles::default();
        let app = App::for_tests().await.with(|inner| inner.tentacles = Arc::new(tentacles.clone()));
        let mut tx = app.db.write().await.unwrap();
        let (name, description) = ("Production".parse().unwrap(), String::new());
        let new = NewEnvironment { name, description, sort_order: None, is_disabled: false };
        let environment = environment_insert(&mut tx, SpaceId::DEFAULT, &new).await.unwrap().id;
        let new = NewMachine {
            name: "web".into(),
            address: address.parse().unwrap(),
            thumbprint: Thumbprint([7; 32]),
            is_disabled: false,
            environments: vec![environment],
            roles: Vec::new(),
        };
        let machine = machine_insert(&mut tx, SpaceId::DEFAULT, &new, app.now()).await.unwrap().id;
        tx.commit().await.unwrap();
        tentacles.machines().insert(machine, FakeMachine::running(Version::release(1, 0, 0)));
        (app, tentacles, machine)
    }

    /// How the part ended, and all lines of its log.
    async fn walked(app: &TestApp, machine: MachineId) -> (MachineTaskState, String, Vec<String>) {
        let id = task_create_connect(app, SpaceId::DEFAULT, "ada", machine).await.unwrap();
        let mut conn = app.db.read().await.unwrap();
        let task = task_get(&mut conn, SpaceId::DEFAULT, id).await.unwrap().unwrap();
        let part = task_machines(&mut conn, id).await.unwrap().remove(0);
        drop(conn);
        run(app, &task, part, &CancellationToken::new()).await.unwrap();
        let mut conn = app.db.read().await.unwrap();
        let part = task_machines(&mut conn, id).await.unwrap().remove(0);
        let log = task_log(&mut conn, id, 0).await.unwrap();
        (part.state, part.reason, log.into_iter().map(|entry| entry.message).collect())
    }

    #[tokio::test]
    async fn every_step_of_a_way_that_is_in_order_is_told_with_its_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (app, _, machine) = portal(&listener.local_addr().unwrap().to_string()).await;
        let (state, reason, log) = walked(&app, machine).await;
        assert_eq!((state, reason.as_str()), (MachineTaskState::Success, ""), "{log:#?}");
        assert_eq!(log.len(), 4, "{log:#?}");
        for (line, words) in log.iter().zip(["is 127.0.0.1", "accepts", "pinned", "Tentacle 1.0.0 answers from fake"]) {
            assert!(line.contains(words) && line.ends_with(" ms)"), "{words}: {line}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_ends_the_way_with_what_to_do() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (app, _, machine) = portal(&address.to_string()).await;
        let (state, reason, log) = walked(&app, machine).await;
        assert_eq!(state, MachineTaskState::Failed);
        assert!(reason.contains("no connection to"), "{reason}");
        assert_eq!(log.len(), 3, "{log:#?}");
        assert!(log[2].starts_with("What to do: The machine is there and nothing listens"), "{log:#?}");
    }

    #[tokio::test]
    async fn another_certificate_is_shown_beside_the_one_that_is_pinned() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (app, tentacles, machine) = portal(&listener.local_addr().unwrap().to_string()).await;
        tentacles.machines().get_mut(&machine).unwrap().thumbprint = Thumbprint([8; 32]);
        let (state, reason, log) = walked(&app, machine).await;
        assert_eq!(state, MachineTaskState::Failed);
        for thumbprint in [Thumbprint([7; 32]), Thumbprint([8; 32])] {
            assert!(reason.contains(&thumbprint.to_string()), "{reason}");
        }
        assert!(log.last().unwrap().contains("trust the new one on its page"), "{log:#?}");
    }

    #[tokio::test]
    async fn a_machine_that_says_what_is_wrong_is_reached_and_not_well() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (app, tentacles, machine) = portal(&listener.local_addr().unwrap().to_string()).await;
        tentacles.machines().get_mut(&machine).unwrap().status.problems = vec!["the disk is full".to_owned()];
        let (state, reason, _) = walked(&app, machine).await;
        assert_eq!(state, MachineTaskState::Failed);
        assert!(reason.contains("the disk is full"), "{reason}");
    }
}
