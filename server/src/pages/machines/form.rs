//! The fields of a machine as they were typed. Pure.

use crate::ids::EnvironmentId;
use crate::model::machine::TENTACLE_PORT;
use crate::model::{Address, Machine, NewMachine};
use crate::pages::form::Fields;

/// What stands in the form.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) thumbprint: String,
    pub(super) environments: Vec<EnvironmentId>,
    pub(super) roles: String,
    pub(super) is_disabled: bool,
}

impl From<Machine> for Draft {
    fn from(machine: Machine) -> Self {
        Self {
            name: machine.name,
            host: machine.address.host,
            port: machine.address.port.to_string(),
            thumbprint: machine.thumbprint.to_string(),
            environments: machine.environments,
            roles: machine.roles.join(", "),
            is_disabled: machine.is_disabled,
        }
    }
}

impl From<&Fields> for Draft {
    /// A new form has the usual port.
    fn from(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).trim().to_owned();
        let port = if fields.is_on("port") { text("port") } else { TENTACLE_PORT.to_string() };
        Self {
            name: text("name"),
            host: text("host"),
            port,
            thumbprint: text("thumbprint"),
            environments: fields.parsed("environment").collect(),
            roles: fields.words("roles").join(", "),
            is_disabled: fields.is_on("disabled"),
        }
    }
}

impl Draft {
    /// Where its Tentacle listens, or why that cannot be.
    pub(super) fn address(&self) -> Result<Address, String> {
        let port = self.port.parse().map_err(|_| "the port must be between 1 and 65535".to_owned())?;
        Address::new(&self.host, port).map_err(|error| error.to_string())
    }

    /// What it asks for, or why it cannot be.
    pub(super) fn read(&self) -> Result<NewMachine, String> {
        let thumbprint = self.thumbprint.parse();
        Ok(NewMachine {
            name: self.name.clone(),
            address: self.address()?,
            thumbprint: thumbprint.map_err(|error| format!("that is no thumbprint: {error}"))?,
            is_disabled: self.is_disabled,
            environments: self.environments.clone(),
            roles: self.roles.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect(),
        })
    }
}
