//! tentacle
