//! Identifiers as they stand on the wire (`Machines-1`) and in the database (`1`). One type for each noun, so that a
//! machine's id can never be used for an environment.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an id of the form {prefix}-1")]
pub struct IdError {
    text: String,
    prefix: &'static str,
}

/// Longest text that is repeated in an error.
const SHOWN_MAX: usize = 80;

fn parse(text: &str, prefix: &'static str) -> Result<i64, IdError> {
    let number = |rest: &str| rest.bytes().all(|b| b.is_ascii_digit()).then(|| rest.parse().ok()).flatten();
    let found = text.split_at_checked(prefix.len()).filter(|(start, _)| start.eq_ignore_ascii_case(prefix));
    let found = found.and_then(|(_, rest)| rest.strip_prefix('-')).and_then(number);
    found.ok_or_else(|| IdError { text: text.chars().take(SHOWN_MAX).collect(), prefix })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text, $prefix).map(Self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": concat!("^", $prefix, "-[0-9]+$") })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(/** A space. */ SpaceId, "Spaces");
id!(/** A user. */ UserId, "Users");
id!(/** An API key. */ ApiKeyId, "ApiKeys");
id!(/** A registration key. */ RegistrationKeyId, "RegistrationKeys");
id!(/** An environment. */ EnvironmentId, "Environments");
id!(/** A machine. */ MachineId, "Machines");
id!(/** A task. */ TaskId, "ServerTasks");
id!(/** A rollout. */ RolloutId, "Rollouts");
id!(/** A freeze. */ FreezeId, "Freezes");
id!(/** A row of the trail. */ EventId, "Events");
id!(/** How a version of a package was built. */ BuildInformationId, "BuildInformation");

impl SpaceId {
    /// The space that is always there: that of addresses which name none.
    pub const DEFAULT: Self = Self(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_write() {
        assert_eq!(MachineId(7).to_string(), "Machines-7");
        assert_eq!("Machines-7".parse(), Ok(MachineId(7)));
        assert_eq!("machines-7".parse(), Ok(MachineId(7)));
        assert_eq!(serde_json::to_string(&TaskId(3)).unwrap(), "\"ServerTasks-3\"");
        assert_eq!(serde_json::from_str::<TaskId>("\"ServerTasks-3\"").unwrap(), TaskId(3));
    }

    #[test]
    fn ids_of_another_kind_are_refused() {
        for text in [
            "",
            "7",
            "Environments-7",
            "Machines",
            "Machines-",
            "Machines--7",
            "Machines-7x",
            "Machines-99999999999999999999",
            "Mächines-1",
        ] {
            assert!(text.parse::<MachineId>().is_err(), "{text}");
        }
    }
}
