//! Everything that differs by platform: signals, children, files, the lock and the log. Called by `run.rs`,
//! and by `status`, which only looks.
//!
//! Linux is here; Windows will join beside it. Nothing here decides anything: each function does one thing and says how
//! it went, and no failure ends the program.

mod children;
mod files;
mod lock;
mod log;
mod processes;
mod signals;
mod stderr;

pub use children::{Children, close_stdin, refusal};
pub use files::{
    bundled_names, can_read, count_launch, gather_last_words, keep_last_words, keep_status, program_folder, read_small,
    reject, survey,
};
pub use lock::{Lock, LockError, lock};
pub use log::log;
pub use processes::{age_of, holder_of_lock, monotonic, process};
pub use signals::Signals;
