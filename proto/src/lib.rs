//! octopus-proto
