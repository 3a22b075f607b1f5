//! Which bundled package is to be installed at the start. Pure; the shell lists the folder and starts the installer.

use contract::{PackageId, Version};

/// The end of a package's file name.
const PACKAGE_SUFFIX: &str = ".nupkg";

/// This machine's runtime in .NET's words, as it stands in the names of Tentacle packages. `None` on a machine whose
/// name for it is not known: any package is taken then, and the installer refuses what does not fit.
pub fn runtime() -> Option<&'static str> {
    runtime_of(std::env::consts::OS, std::env::consts::ARCH)
}

fn runtime_of(os: &str, processor: &str) -> Option<&'static str> {
    match (os, processor) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("windows", "x86_64") => Some("win-x64"),
        _ => None,
    }
}

/// The newest Tentacle package for `runtime` among these file names; `None` where `installed`, the newest installed
/// version, is as new or newer.
pub fn to_install(
    names: impl IntoIterator<Item = String>,
    runtime: Option<&str>,
    installed: Option<&Version>,
) -> Option<(String, Version)> {
    names
        .into_iter()
        .filter_map(|name| {
            let version = version_in(&name, runtime)?;
            Some((name, version))
        })
        .filter(|(_, version)| installed.is_none_or(|installed| version > installed))
        .max_by(|a, b| a.1.cmp(&b.1))
}

/// Reads `Octopus.Tentacle.<runtime>.<version>.nupkg`. Runtimes hold no dots, so the version begins at the third.
fn version_in(name: &str, runtime: Option<&str>) -> Option<Version> {
    let stem = name.strip_suffix(PACKAGE_SUFFIX)?;
    let dot = stem.match_indices('.').nth(2)?.0;
    let (id, version) = stem.split_at_checked(dot)?;
    let id: PackageId = id.parse().ok()?;
    let for_us = id.tentacle_runtime().filter(|own| runtime.is_none_or(|runtime| own.eq_ignore_ascii_case(runtime)));
    for_us.and(version.strip_prefix('.')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], installed: Option<&str>) -> Option<String> {
        let installed = installed.map(|text| text.parse().unwrap());
        let names = names.iter().map(|name| (*name).to_owned());
        to_install(names, Some("linux-x64"), installed.as_ref()).map(|(name, _)| name)
    }

    #[test]
    fn a_machine_is_named_in_the_words_of_the_packages() {
        assert_eq!(runtime_of("linux", "x86_64"), Some("linux-x64"));
        assert_eq!(runtime_of("linux", "aarch64"), Some("linux-arm64"));
        assert_eq!(runtime_of("windows", "x86_64"), Some("win-x64"));
        assert_eq!(runtime_of("linux", "riscv64"), None);
        let own = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-x64" };
        assert_eq!(runtime(), Some(own));
    }

    #[test]
    fn the_newest_package_for_this_machine_is_installed() {
        let names = [
            "Octopus.Tentacle.linux-x64.1.9.0.nupkg",
            "Octopus.Tentacle.linux-x64.1.10.0.nupkg",
            "Octopus.Tentacle.linux-arm64.3.0.0.nupkg",
            "Octopus.Tentacle.linux-x64.4.0.0.zip",
            "Octopus.Tentacle.linux-x64.nupkg",
            "Octopus.Tentacle.linux-x64.five.nupkg",
            "Octopus.Server.linux-x64.6.0.0.nupkg",
            "..nupkg",
            "",
        ];
        assert_eq!(chosen(&names, None).as_deref(), Some(names[1]));
        assert_eq!(chosen(&names, Some("1.9.0")).as_deref(), Some(names[1]));
    }

    #[test]
    fn a_bundle_that_is_not_newer_is_left_alone() {
        let names = ["Octopus.Tentacle.linux-x64.2.0.0.nupkg"];
        assert_eq!(chosen(&names, Some("2.0.0")), None);
        assert_eq!(chosen(&names, Some("2.0.1")), None);
        assert_eq!(chosen(&names, Some("2.0.0-rc.1")).as_deref(), Some(names[0]));
        assert_eq!(chosen(&[], None), None);
    }

    #[test]
    fn a_machine_without_a_known_runtime_takes_any_package() {
        let name = "Octopus.Tentacle.linux-riscv64.2.0.0.nupkg".to_owned();
        assert!(to_install([name], None, None).is_some());
    }
}
