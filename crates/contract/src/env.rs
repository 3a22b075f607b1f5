//! Names of the environment variables that cross the border between two of our processes.

/// The home folder. Read by Suction Cup, Tentacle and `install-package`; set by Suction Cup for its child.
pub const TENTACLE_HOME: &str = "OCTOPUS_TENTACLE_HOME";

/// The revision of the contract between Suction Cup and Tentacle. Set by Suction Cup for its child.
pub const SUCTION_CUP_CONTRACT: &str = "SUCTION_CUP_CONTRACT";

/// The value of [`SUCTION_CUP_CONTRACT`] that this contract describes.
pub const SUCTION_CUP_CONTRACT_VALUE: &str = "1";

/// A text that differs at every launch. Set by Suction Cup for its child.
pub const SUCTION_CUP_LAUNCH_ID: &str = "SUCTION_CUP_LAUNCH_ID";

/// The folder name of the version that was chosen. Set by Suction Cup for its child.
pub const SUCTION_CUP_VERSION: &str = "SUCTION_CUP_VERSION";

/// Every variable that begins so is between Suction Cup and Tentacle, and is kept from the scripts of packages.
pub const SUCTION_CUP_PREFIX: &str = "SUCTION_CUP_";

/// Ends within the window that trip the crash limit (a whole number from 2 up). Default 5.
pub const SUCTION_CUP_CRASH_LIMIT: &str = "SUCTION_CUP_CRASH_LIMIT";

/// The window of the crash limit, in milliseconds. Default 30,000.
pub const SUCTION_CUP_CRASH_WINDOW_MS: &str = "SUCTION_CUP_CRASH_WINDOW_MS";

/// The first wait after the crash limit tripped, in milliseconds. Default 30,000.
pub const SUCTION_CUP_WAIT_MIN_MS: &str = "SUCTION_CUP_WAIT_MIN_MS";

/// The longest wait after the crash limit tripped, in milliseconds. Default 300,000.
pub const SUCTION_CUP_WAIT_MAX_MS: &str = "SUCTION_CUP_WAIT_MAX_MS";

/// Launches that a version on probation gets (a whole number from 1 up). Default 3.
pub const SUCTION_CUP_PROBATION_LAUNCHES: &str = "SUCTION_CUP_PROBATION_LAUNCHES";

/// How long after a launch a version on probation must have become proven, in milliseconds. Default 600,000.
pub const SUCTION_CUP_PROBATION_MS: &str = "SUCTION_CUP_PROBATION_MS";

/// How long a child may take to end after TERM before it is killed, in milliseconds. Default 30,000.
pub const SUCTION_CUP_GRACE_MS: &str = "SUCTION_CUP_GRACE_MS";

/// How long `install-package` may take for the bundled package before it is killed, in milliseconds. Default 300,000.
pub const SUCTION_CUP_BUNDLE_MS: &str = "SUCTION_CUP_BUNDLE_MS";
