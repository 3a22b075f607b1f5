//! octopus-server
