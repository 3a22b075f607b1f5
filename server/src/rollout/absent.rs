//! What becomes of machines that are not there when their turn comes: those that cannot be reached, and those that join
//! the rollout's environments while it is under way. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest time that can be waited for a machine, in hours: a year.
pub const WAIT_HOURS_MAX: u32 = 365 * 24;

/// How long a machine is waited for where nothing is said, in hours: a week. What comes back later than that has missed
/// more than one upgrade, and somebody should look at it.
const WAIT_HOURS_DEFAULT: u32 = 7 * 24;

/// What becomes of a machine that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Offline {
    /// It is waited for, so many hours from when it was found offline, and upgraded when it reappears.
    WaitHours(u32),
    /// It is left as it is.
    Leave,
}

impl Default for Offline {
    fn default() -> Self {
        Self::WaitHours(WAIT_HOURS_DEFAULT)
    }
}

/// What becomes of a machine that comes into the rollout's environments while that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LateArrivals {
    /// It joins the last wave, and goes through the same gates: nothing is tried on it that was not proven before, and no
    /// outdated machine is left behind unseen.
    #[default]
    Join,
    /// It is left as it is.
    Leave,
}
