//! The Tentacle services of a measurement: this very program again, each with a home of its own.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use contract::{Home, Thumbprint};
use octopus_proto::tls::Identity;
use octopus_server::ids::MachineId;
use octopus_server::model::Address;
use octopus_server::tentacle::Target;
use xtask::{Port, Process, wait_for};

/// How long a service may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A Tentacle service that runs.
pub(crate) struct Service {
    pub(crate) target: Target,
    pub(crate) home: Home,
    process: Process,
    _port: Port,
}

impl Service {
    /// Starts the service `number` with a home in `folder`, trusting the portal `trusted`.
    pub(crate) fn start(folder: &Path, number: u32, trusted: Thumbprint) -> anyhow::Result<Self> {
        let home = Home::new(folder.join(format!("machine-{number}")));
        fs::create_dir(home.path())?;
        let port = Port::claim()?;
        let identity = Identity::load_or_create(&home.identity(), "fleet")?;
        let listen = port.address();
        fs::write(home.config(), format!("listen = \"{listen}\"\ntrusted = [\"{trusted}\"]\n"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["tentacle", "--home"]).arg(home.path());
        let process = Process::start(command, &folder.join(format!("machine-{number}.log")))?;
        let target = Target {
            machine: MachineId(i64::from(number) + 1),
            address: Address::new(&listen.ip().to_string(), listen.port())?,
            thumbprint: identity.thumbprint(),
        };
        Ok(Self { target, home, process, _port: port })
    }

    /// Waits until it listens.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let (address, process) = (self.target.address.to_string(), &mut self.process);
        wait_for("a Tentacle service", START_LIMIT, async || {
            anyhow::ensure!(process.ended().is_none(), "it ended; its log:\n{}", process.tail());
            Ok(TcpStream::connect(&address).is_ok().then_some(()))
        })
        .await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }
}

/// Starts many services and waits until all of them listen.
pub(crate) async fn start_all(folder: &Path, count: u32, portal: &Arc<Identity>) -> anyhow::Result<Vec<Service>> {
    let trusted = portal.thumbprint();
    let mut services =
        (0..count).map(|number| Service::start(folder, number, trusted)).collect::<anyhow::Result<Vec<_>>>()?;
    for service in &mut services {
        service.ready().await?;
    }
    Ok(services)
}
