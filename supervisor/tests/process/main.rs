//! Tests with the real program and real children. A Tentacle is a small shell script that ends soon by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod bundle;
mod faults;
mod life;
mod signals;
mod support;
