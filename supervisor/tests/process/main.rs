//! Tests with the real program and real children. A Tentacle is a small shell script that ends soon by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod bundle;
mod damage;
mod deaf;
mod descriptors;
mod disk;
mod ends;
mod faults;
mod grandchildren;
mod hostile;
mod life;
mod lock;
mod namespaces;
mod shipped;
mod signals;
mod status;
mod stderr;
mod support;
mod system_calls;
