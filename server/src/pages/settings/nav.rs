//! The pages below Settings, as each of them lists all.

use crate::pages::shell::Shell;

/// A page below Settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsPage {
    /// One's own account.
    Account,
    /// The people who may log in.
    Users,
    /// The parts of the portal that know nothing of each other.
    Spaces,
    /// What machines trust.
    Identity,
    /// That the portal was restored, and who confirmed it.
    Restore,
    /// How often machines are asked, and deadlines.
    Machines,
    /// When environments are upgraded.
    Windows,
    /// What is kept for how long.
    Retention,
    /// Whether administrators alone change anything.
    Maintenance,
}

impl SettingsPage {
    /// All of them, in their order.
    const ALL: [Self; 9] = [
        Self::Account,
        Self::Users,
        Self::Spaces,
        Self::Identity,
        Self::Restore,
        Self::Machines,
        Self::Windows,
        Self::Retention,
        Self::Maintenance,
    ];

    /// Those that somebody may open.
    pub fn of(shell: &Shell) -> impl Iterator<Item = Self> {
        let is_administrator = shell.is_administrator();
        Self::ALL.into_iter().filter(move |page| is_administrator || !matches!(page, Self::Users | Self::Spaces))
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Account => "Your account",
            Self::Users => "Users",
            Self::Spaces => "Spaces",
            Self::Identity => "Portal identity",
            Self::Restore => "Restore",
            Self::Machines => "Machine policy",
            Self::Windows => "Upgrade hours",
            Self::Retention => "Retention",
            Self::Maintenance => "Maintenance",
        }
    }

    /// Its address.
    pub fn path(self) -> &'static str {
        match self {
            Self::Account => "/account",
            Self::Users => "/settings/users",
            Self::Spaces => "/settings/spaces",
            Self::Identity => "/settings/identity",
            Self::Restore => "/settings/restore",
            Self::Machines => "/settings/machines",
            Self::Windows => "/settings/windows",
            Self::Retention => "/settings/retention",
            Self::Maintenance => "/settings/maintenance",
        }
    }
}
