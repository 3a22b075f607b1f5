//! The portal and the machines of a demo: starting them, telling people of them, ending them.

use std::time::Duration;

use anyhow::Context as _;
use contract::Version;
use contract::env::SUCTION_CUP_PROBATION_MS;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Options;
use crate::machine::{Machine, MachineOptions};
use crate::packages::{Flavor, packed_tentacle, product_version};
use crate::portal::{Portal, PortalOptions};
use crate::process::log_tail;
use crate::programs::Programs;

/// Machines that are started at the same time. More would only wait for the disk.
const STARTS_AT_ONCE: usize = 8;

/// How long a new version must be well before the portal confirms it. The portal's own default is 20 s; a person who
/// watches a demo believes it sooner.
pub(crate) const PROVING_TIME: Duration = Duration::from_secs(5);

/// How long a wave of the demo soaks: long enough to be seen, short enough to be watched.
const SOAK: Duration = Duration::from_millis(500);

/// How long a new version has to become proven before Suction Cup undoes it, where it is broken on purpose.
pub(crate) const PROBATION: Duration = Duration::from_secs(15);

const ENVIRONMENTS: [(&str, &str); 3] = [("Development", "dev"), ("Staging", "staging"), ("Production", "prod")];
const ROLES: [&str; 3] = ["web", "db", "worker"];

/// A portal and the machines that are registered with it.
pub(crate) struct Fleet {
    // Ended first: the machines must not see the portal's last seconds as their own.
    pub(crate) portal: Portal,
    pub(crate) machines: Vec<Machine>,
    /// What the machines run.
    pub(crate) from: Version,
    /// What the portal bundles.
    pub(crate) to: Version,
}

/// Where a machine belongs.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    name: String,
    environment: &'static str,
    role: &'static str,
}

/// The place of the machine with this number, counted from 0: the environments in turn, and in each the roles in turn.
fn place(number: usize) -> Place {
    let (environment, short) = ENVIRONMENTS[number % ENVIRONMENTS.len()];
    let within = number / ENVIRONMENTS.len();
    let role = ROLES[within % ROLES.len()];
    Place { name: format!("{short}-{role}-{}", within / ROLES.len() + 1), environment, role }
}

/// The release before `version`, as far as numbers tell.
fn release_before(version: &Version) -> Version {
    let [major, minor, patch, _] = version.numbers();
    if patch > 0 {
        Version::release(major, minor, patch - 1)
    } else if minor > 0 {
        Version::release(major, minor - 1, 0)
    } else {
        Version::release(major.saturating_sub(1), 0, 0)
    }
}

impl Fleet {
    /// Packs both versions, starts the portal and the machines, and registers them.
    pub(crate) async fn start(programs: &Programs, options: &Options) -> anyhow::Result<Self> {
        let to = product_version();
        let from = release_before(&to);
        eprintln!("packing Tentacle {from} and {to}");
        let newer = options.r#break.map_or(Flavor::Real, Flavor::from);
        let older = packed_tentacle(programs, Flavor::Real, &from)?;
        let bundled = packed_tentacle(programs, newer, &to)?;
        eprintln!("starting the portal");
        let portal = PortalOptions {
            listen: (options.listen.port() != 0).then_some(options.listen),
            bundle_dir: bundled.parent().map(Into::into),
            env: vec![
                ("OCTOPUS_ROLLOUT_PROVING_TIME_MS".to_owned(), PROVING_TIME.as_millis().to_string()),
                ("OCTOPUS_ROLLOUT_SOAK_MS".to_owned(), SOAK.as_millis().to_string()),
            ],
            ..PortalOptions::default()
        };
        let portal = Portal::start(programs, portal).await?;
        let api = portal.api()?;
        for (environment, _) in ENVIRONMENTS {
            api.environment_create(environment).await?;
        }
        eprintln!("starting {} machines", options.machines);
        let probation =
            options.r#break.map(|_| (SUCTION_CUP_PROBATION_MS.to_owned(), PROBATION.as_millis().to_string()));
        let env: Vec<_> = probation.into_iter().collect();
        let machines = stream::iter((0..usize::from(options.machines)).map(place))
            .map(|place| {
                let options = MachineOptions { name: place.name, package: older.clone(), env: env.clone() };
                let portal = &portal;
                async move {
                    let machine = Machine::start(programs, options).await?;
                    machine.register(portal, place.environment, &[place.role]).await?;
                    anyhow::Ok(machine)
                }
            })
            .buffered(STARTS_AT_ONCE)
            .try_collect()
            .await
            .context("a machine could not be started")?;
        Ok(Self { portal, machines, from, to })
    }

    /// Tells where everything is.
    pub(crate) fn introduce(&self) {
        println!();
        println!("  portal    {}", self.portal.url());
        println!("  login     admin / {}", self.portal.admin_password());
        println!("  API key   {}", self.portal.api_key());
        println!("  machines  {} at Tentacle {}; the portal bundles {}", self.machines.len(), self.from, self.to);
        println!(
            "  proving   a new version must be well for {} s; without the demo it is 20 s",
            PROVING_TIME.as_secs()
        );
    }

    /// Shows the ends of all logs.
    pub(crate) fn diagnose(&self) {
        eprintln!("\nthe portal's log:\n{}", log_tail(&self.portal.log()));
        for machine in &self.machines {
            eprintln!("\n{}, {}", machine.name(), machine.diagnosis());
        }
    }

    /// Ends everything, the portal first.
    pub(crate) fn end(&mut self) {
        self.portal.stop();
        self.machines.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn six_machines_are_two_in_each_environment() {
        let places: Vec<Place> = (0..6).map(place).collect();
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["dev-web-1", "staging-web-1", "prod-web-1", "dev-db-1", "staging-db-1", "prod-db-1"]);
        assert_eq!((places[2].environment, places[5].role), ("Production", "db"));
    }

    #[test]
    fn no_two_machines_share_a_name() {
        let names: HashSet<String> = (0..200).map(|number| place(number).name).collect();
        assert_eq!(names.len(), 200);
    }

    #[test]
    fn the_release_before_is_older_and_as_near_as_can_be() {
        for (version, before) in [("2026.4.7", "2026.4.6"), ("2026.4.1", "2026.4.0"), ("2026.4.0", "2026.3.0")] {
            assert_eq!(release_before(&version.parse().unwrap()).to_string(), before);
        }
        assert_eq!(release_before(&"2026.0.0".parse().unwrap()).to_string(), "2025.0.0");
    }
}
