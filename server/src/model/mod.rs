//! What the portal knows: environments, machines, facts, packages, spaces, tasks and users, as values.
//!
//! Read by everybody in the portal. Nothing here does I/O or reads a clock.

pub mod audit;
pub mod brief;
pub mod build_information;
pub mod environment;
pub mod fact;
pub mod instances;
pub mod machine;
pub mod package;
pub mod registration;
pub mod space;
pub mod task;
pub mod user;

pub use audit::{Audit, AuditCategory, AuditEntry, AuditKind, AuditVia, Changes, Whence};
pub use brief::Brief;
pub use build_information::{Build, BuildInformation, Commit};
pub use environment::{Environment, NewEnvironment};
pub use fact::{Contact, Facts, Health, InstalledVersion, Report, RunningWork, VersionState};
pub use instances::{Answer, Instances};
pub use machine::{Address, Machine, NewMachine};
pub use package::{NewPackage, Package};
pub use registration::{KeyState, KeyUse, RegistrationKey, UseOutcome};
pub use space::{NewSpace, Space, SpaceActivity, SpaceContents, TaskQueue};
pub use task::{LogCategory, LogEntry, MachineTask, MachineTaskState, NewTask, Task, TaskState};
pub use user::{ApiKey, KeyWish, Reach, Role, Scope, User};
