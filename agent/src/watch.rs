//! The self-watch: a Tentacle that hangs is a dead one. A thread of its own calls the own port from outside, and ends the
//! process when nobody answers; Suction Cup then starts it again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use octopus_proto::tls::{self, Identity};

use crate::{exit, service};

/// Failures in a row after which the process is ended.
const FAILURES_MAX: u32 = 3;

/// How long one call may take, connection and all; then it has failed.
const CALL_MAX: Duration = Duration::from_secs(20);

/// Starts the thread. `listen` is the address that the service is bound to.
pub(crate) fn start(listen: SocketAddr, identity: Identity, interval: Duration) -> std::io::Result<()> {
    let address = reachable(listen).to_string();
    let thread = std::thread::Builder::new().name("self-watch".to_owned());
    let watch = move || {
        let last = watch(|| call(&address, &identity), || std::thread::sleep(interval));
        exit::abort(&format!("Tentacle did not answer on its own port {FAILURES_MAX} times in a row: {last}"));
    };
    thread.spawn(watch).map(drop)
}

/// Calls until it has failed too often in a row, and returns the last failure.
fn watch(mut call: impl FnMut() -> Result<(), String>, mut pause: impl FnMut()) -> String {
    let mut failures = 0;
    loop {
        pause();
        match call() {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!(failures, error, "Tentacle does not answer on its own port");
                if failures >= FAILURES_MAX {
                    return error;
                }
            }
        }
    }
}

/// One call in a runtime that lives no longer: nothing is shared with the service that is being watched.
fn call(address: &str, identity: &Identity) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let call = async {
        let channel = tls::connect(address, identity, identity.thumbprint(), CALL_MAX).await;
        let channel = channel.map_err(|error| error.to_string())?;
        service::knock(channel).await.map_err(|status| status.to_string())
    };
    let timed_out = Err(format!("no answer within {} s", CALL_MAX.as_secs()));
    runtime.block_on(async { tokio::time::timeout(CALL_MAX, call).await }).unwrap_or(timed_out)
}

/// The address under which this machine itself reaches what is bound to `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_end_it_and_an_answer_begins_anew() {
        let outcomes = [true, false, false, true, false, false, false, true];
        let mut calls = 0;
        let call = || {
            calls += 1;
            if outcomes[calls - 1] { Ok(()) } else { Err(format!("failure in call {calls}")) }
        };
        assert_eq!(watch(call, || {}), "failure in call 7");
    }

    #[test]
    fn a_port_where_nobody_answers_is_a_failure() {
        let identity = Identity::generate("machine").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = call(&address.to_string(), &identity).unwrap_err();
        assert!(error.contains("cannot reach"), "{error}");
    }

    #[test]
    fn the_own_port_is_called_on_loopback_where_it_is_bound_to_all_addresses() {
        assert_eq!(reachable("0.0.0.0:1".parse().unwrap()).to_string(), "127.0.0.1:1");
        assert_eq!(reachable("[::]:1".parse().unwrap()).to_string(), "[::1]:1");
        assert_eq!(reachable("10.0.0.1:1".parse().unwrap()).to_string(), "10.0.0.1:1");
    }
}
