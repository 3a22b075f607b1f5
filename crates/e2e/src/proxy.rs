//! A network between the portal and one machine that can be held up and cut. It forwards bytes and understands none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A read of more bytes than this is part of a package: questions and answers are smaller.
const BULK: usize = 8 * 1024;

/// Bytes that are forwarded at once.
const BUFFER: usize = 64 * 1024;

/// When a connection with a package under way has been still for so long, its last byte was read.
const STILL: Duration = Duration::from_millis(400);

/// What is done to the bytes on their way to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing.
    Open,
    /// They wait, and so do new connections.
    Held,
    /// Before this byte of a package is forwarded, everything is held.
    HoldAt(u64),
    /// Before this byte of a package is forwarded, every connection breaks, once.
    CutAt(u64),
    /// Once so many bytes of a package are through, the last byte is always kept back; when nothing comes after it, every
    /// connection breaks, once.
    CutBeforeLast(u64),
}

/// The proxy. It ends, and its connections break, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    /// Where new connections lead.
    to: watch::Sender<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// Counts cuts; a connection breaks when it changes.
    cuts: watch::Sender<u64>,
    /// Bytes of packages that were forwarded.
    bulk: AtomicU64,
}

impl Proxy {
    /// Forwards to `to` from a port of its own.
    pub async fn start(to: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mode, cuts) = (watch::Sender::new(Mode::Open), watch::Sender::new(0));
        let shared = Arc::new(Shared { to: watch::Sender::new(to), mode, cuts, bulk: AtomicU64::new(0) });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where the portal reaches the machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections elsewhere.
    pub fn lead_to(&self, to: SocketAddr) {
        self.shared.to.send_replace(to);
    }

    /// Holds everything until [`Proxy::release`].
    pub fn hold(&self) {
        self.shared.mode.send_replace(Mode::Held);
    }

    /// Holds everything from this byte of the next package on, until [`Proxy::release`].
    pub fn hold_at(&self, byte: u64) {
        self.arm(Mode::HoldAt(byte));
    }

    /// Breaks every connection before this byte of the next package gets through.
    pub fn cut_at(&self, byte: u64) {
        self.arm(Mode::CutAt(byte));
    }

    /// Breaks every connection before the last byte of the next package, of at least `size` bytes, gets through.
    pub fn cut_before_last_byte(&self, size: u64) {
        self.arm(Mode::CutBeforeLast(size));
    }

    fn arm(&self, mode: Mode) {
        self.shared.bulk.store(0, Ordering::SeqCst);
        self.shared.mode.send_replace(mode);
    }

    /// Lets everything through.
    pub fn release(&self) {
        self.shared.mode.send_replace(Mode::Open);
    }

    /// How often the connections were cut.
    pub fn cuts(&self) -> u64 {
        *self.shared.cuts.borrow()
    }

    /// Bytes of packages, with their wrapping, that got through since the last order to cut or to hold.
    pub fn forwarded(&self) -> u64 {
        self.shared.bulk.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(forward(client, Arc::clone(&shared)));
    }
}

async fn forward(client: TcpStream, shared: Arc<Shared>) {
    let (mut mode, mut cuts) = (shared.mode.subscribe(), shared.cuts.subscribe());
    let _ = mode.wait_for(|mode| *mode != Mode::Held).await;
    let to = *shared.to.borrow();
    let Ok(machine) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), machine.set_nodelay(true));
    let (from_client, mut to_client) = client.into_split();
    let (mut from_machine, to_machine) = machine.into_split();
    tokio::select! {
        _ = cuts.changed() => {}
        () = upstream(from_client, to_machine, &shared) => {}
        _ = tokio::io::copy(&mut from_machine, &mut to_client) => {}
    }
}

async fn upstream(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut mode = shared.mode.subscribe();
    let (mut buffer, mut kept) = (vec![0; BUFFER], Vec::new());
    loop {
        let read = match tokio::time::timeout(STILL, from.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(read)) => read,
            Err(_) if kept.is_empty() => continue,
            Err(_) => return cut(shared),
        };
        let _ = mode.wait_for(|mode| *mode != Mode::Held).await;
        let mut bytes = std::mem::take(&mut kept);
        bytes.extend_from_slice(&buffer[..read]);
        // Copied out: the order may change while bytes wait for the network.
        let now = *mode.borrow();
        let before = shared.bulk.load(Ordering::SeqCst);
        if read > BULK || before > 0 {
            let after = before + read as u64;
            match now {
                Mode::CutAt(byte) if after > byte => return cut(shared),
                Mode::HoldAt(byte) if after > byte => {
                    shared.mode.send_replace(Mode::Held);
                    let _ = mode.wait_for(|mode| *mode != Mode::Held).await;
                }
                Mode::CutBeforeLast(size) if after >= size => kept.extend(bytes.pop()),
                Mode::Open | Mode::Held | Mode::HoldAt(_) | Mode::CutAt(_) | Mode::CutBeforeLast(_) => {}
            }
            shared.bulk.store(after, Ordering::SeqCst);
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn cut(shared: &Shared) {
    shared.mode.send_replace(Mode::Open);
    shared.cuts.send_modify(|cuts| *cuts += 1);
}
