//! The real programs together, over loopback: every test has a portal, machines, folders and ports of its own.
//!
//! Nothing is slept for luck: what is waited for is looked at until it is there, or the test fails. Tests of phases hold a
//! machine in a phase (its network by a proxy, its Suction Cup by a signal, its drain by a script) instead of racing it.

mod broken;
mod cloned;
mod deploy;
mod expired;
mod faults;
mod hands;
mod join;
mod killed;
mod last_words;
mod manual;
mod nuget;
mod official;
mod orders;
mod pages;
mod restored;
mod rotation;
mod schemathesis;
mod transfer;
mod trust;
mod undo;
mod upgrade;
mod uploads;
