//! `tentacle register`: adds this machine to a portal through its REST API, and makes this Tentacle trust that portal.
//!
//! Nothing is trusted on first use: the portal's thumbprint is given, or its certificate is publicly valid, or the
//! connection does not leave this machine.

mod portal;

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use contract::{Home, Thumbprint};
use octopus_proto::tls::Identity;
use portal::{Applicant, COMPARE, Key, Machine, NewEndpoint, NewMachine, Portal, Registered};

use crate::config::{self, HomeOption, Settings, variable};
use crate::{sys, trust};

/// Most bytes of a file with an API key.
const API_KEY_MAX: u64 = 4096;

/// `tentacle show-thumbprint`: prints what a portal must pin, and makes the identity where there is none yet.
pub fn show_thumbprint(options: &HomeOption) -> anyhow::Result<ExitCode> {
    let home = options.home()?;
    println!("{}", identity(&home)?.thumbprint());
    Ok(ExitCode::SUCCESS)
}

/// `tentacle register`
pub fn register(options: config::Register) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(register_async(options))
}

fn identity(home: &Home) -> anyhow::Result<Identity> {
    package::prepare_home(home).context("cannot prepare the home folder")?;
    Ok(Identity::load_or_create(&home.identity(), &sys::hostname())?)
}

async fn register_async(options: config::Register) -> anyhow::Result<ExitCode> {
    let home = options.home.home()?;
    let settings = Settings::load(&home.config())?;
    let thumbprint = identity(&home)?.thumbprint();
    let key = key(&options)?;
    let portal = Portal::open(&options.server, options.server_thumbprint, &key).await?;
    let server = match key {
        Key::Api(_) => portal.thumbprint().await?,
        Key::Registration(_) => portal.thumbprint_for_applicants().await?,
    };
    if let Some(expected) = options.server_thumbprint {
        ensure!(
            server == expected,
            "the portal at {} says its thumbprint is {server}, but --server-thumbprint says {expected}. {COMPARE}",
            options.server
        );
    }
    let mut environment_ids = Vec::new();
    for environment in &options.environments {
        environment_ids.push(portal.environment_id(environment).await?);
    }
    let name = options.name.unwrap_or_else(sys::hostname);
    let uri = match &options.address {
        Some(address) => uri_of(address, settings.listen.port())?,
        None => uri_of(&own_address(&options.server)?.to_string(), settings.listen.port())?,
    };

    // Trust first: the portal looks at a new machine at once.
    let undo = trust_portal(&home, &settings, server)?;
    let added = match key {
        Key::Registration(_) => portal.apply(&Applicant { name, uri: uri.clone(), thumbprint }).await,
        Key::Api(_) => {
            let endpoint = NewEndpoint { communication_style: "TentaclePassive", uri: uri.clone(), thumbprint };
            add(&portal, &NewMachine { name, environment_ids, roles: options.roles, endpoint }).await
        }
    };
    match added {
        Ok(Registered { machine: Machine { id, name }, is_new }) => {
            if is_new {
                println!("Registered {name} ({id}) at {uri} with the thumbprint {thumbprint}");
            } else {
                println!(
                    "This machine is registered already as {name} ({id}); its environments and roles are left as they \
                     are"
                );
            }
            println!("This Tentacle trusts the portal {server}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            undo.run(&home).context("could not take back the trust in the portal")?;
            Err(error)
        }
    }
}

/// Adds the machine, if the portal knows none with its thumbprint.
async fn add(portal: &Portal, new: &NewMachine) -> anyhow::Result<Registered> {
    match portal.machine_with(&new.endpoint.thumbprint).await? {
        Some(machine) => Ok(Registered { machine, is_new: false }),
        None => Ok(Registered { machine: portal.add_machine(new).await?, is_new: true }),
    }
}

fn key(options: &config::Register) -> anyhow::Result<Key> {
    match options.registration_key.as_deref().map(str::trim) {
        Some("") => bail!("the registration key is empty"),
        Some(key) => Ok(Key::Registration(key.to_owned())),
        None => api_key(options.api_key_file.as_deref()).map(Key::Api),
    }
}

fn api_key(file: Option<&Path>) -> anyhow::Result<String> {
    let mut key = String::new();
    match file {
        Some(path) if path == Path::new("-") => io::stdin().take(API_KEY_MAX).read_to_string(&mut key).map(drop),
        Some(path) => fs::File::open(path).and_then(|file| file.take(API_KEY_MAX).read_to_string(&mut key)).map(drop),
        None => {
            key = variable(config::API_KEY).context(
                "there is no key: give a registration key with --registration-key, or an API key with the environment \
                 variable OCTOPUS_API_KEY or with --api-key-file",
            )?;
            Ok(())
        }
    }
    .context("cannot read the API key")?;
    let key = key.trim();
    ensure!(!key.is_empty(), "the API key is empty");
    Ok(key.to_owned())
}

/// The settings file as it was before.
struct Undo(Option<Vec<u8>>);

fn trust_portal(home: &Home, settings: &Settings, portal: Thumbprint) -> anyhow::Result<Undo> {
    let path = home.config();
    let before = match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if !settings.trusted.contains(&portal) {
        let trusted: Vec<_> = settings.trusted.iter().copied().chain([portal]).collect();
        trust::write(&path, &trusted).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Undo(before))
}

impl Undo {
    fn run(self, home: &Home) -> io::Result<()> {
        match self.0 {
            Some(bytes) => sys::write_durable(&home.config(), &bytes),
            None => match fs::remove_file(home.config()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

/// The address of this machine that the way to the portal begins at. Nothing is sent.
fn own_address(server: &reqwest::Url) -> anyhow::Result<IpAddr> {
    if portal::is_loopback(server) {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let targets = server.socket_addrs(|| None).with_context(|| format!("cannot find the address of {server}"))?;
    for target in targets {
        let any: SocketAddr = if target.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let local = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(target)?;
            socket.local_addr()
        });
        if let Ok(local) = local {
            return Ok(local.ip());
        }
    }
    bail!("this machine has no way to {server}: give the address under which the portal reaches it with --address")
}

/// `host`, `host:port`, an IPv4 or IPv6 address, with brackets or not.
fn uri_of(address: &str, port: u16) -> anyhow::Result<String> {
    let host_and_port = match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => address.to_owned(),
    };
    let mut url = reqwest::Url::parse(&format!("tentacle://{host_and_port}"))
        .with_context(|| format!("\"{address}\" is not a host, nor a host and a port"))?;
    let host = url.host_str().with_context(|| format!("\"{address}\" names no host"))?.to_owned();
    ensure!(url.path().is_empty() && url.username().is_empty(), "\"{address}\" is more than a host and a port");
    if url.port().is_none() {
        // Cannot fail for an address with a host.
        let _ = url.set_port(Some(port));
    }
    Ok(format!("https://{host}:{}/", url.port().unwrap_or(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_uris() {
        for (address, uri) in [
            ("web-1", "https://web-1:10933/"),
            ("web-1:5", "https://web-1:5/"),
            ("10.0.0.1", "https://10.0.0.1:10933/"),
            ("::1", "https://[::1]:10933/"),
            ("[::1]:5", "https://[::1]:5/"),
        ] {
            assert_eq!(uri_of(address, 10933).unwrap(), uri);
        }
        for address in ["", "a/b", "a b", "me@web-1", "web-1:x"] {
            assert!(uri_of(address, 10933).is_err(), "{address}");
        }
    }

    #[test]
    fn trust_is_taken_back_as_if_it_had_never_been() {
        for before in [None, Some("# ours\nprove = \"self\"\n")] {
            let folder = tempfile::tempdir().unwrap();
            let home = Home::new(folder.path());
            if let Some(text) = before {
                fs::write(home.config(), text).unwrap();
            }
            let settings = Settings::load(&home.config()).unwrap();
            let portal = Thumbprint([7; 32]);
            let undo = trust_portal(&home, &settings, portal).unwrap();
            assert_eq!(Settings::load(&home.config()).unwrap().trusted, [portal]);
            undo.run(&home).unwrap();
            assert_eq!(fs::read_to_string(home.config()).ok().as_deref(), before);
        }
    }

    #[test]
    fn a_portal_on_this_machine_reaches_it_on_loopback() {
        assert_eq!(own_address(&"https://localhost:1".parse().unwrap()).unwrap(), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn an_api_key_is_read_from_a_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "API-ABC\n").unwrap();
        assert_eq!(api_key(Some(&path)).unwrap(), "API-ABC");
        fs::write(&path, "\n").unwrap();
        assert!(api_key(Some(&path)).is_err());
    }
}
