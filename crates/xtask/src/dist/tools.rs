//! The programs that are needed beside cargo: asked for all at once, with the way to get each that is missing.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::Arch;

/// A program, the ways to ask whether it is there (any that works will do), and how to get it.
pub(super) struct Tool {
    name: &'static str,
    probes: &'static [&'static [&'static str]],
    hint: &'static str,
}

const CARGO_DEB: Tool =
    Tool { name: "cargo-deb", probes: &[&["cargo", "deb", "--version"]], hint: "cargo install cargo-deb --locked" };

const CARGO_ZIGBUILD: Tool = Tool {
    name: "cargo-zigbuild",
    probes: &[&["cargo-zigbuild", "--version"]],
    hint: "pip install cargo-zigbuild, or cargo install cargo-zigbuild --locked",
};

const ZIG: Tool = Tool {
    name: "zig, as C compiler and linker",
    probes: &[&["python3", "-m", "ziglang", "version"], &["zig", "version"]],
    hint: "pip install ziglang",
};

const TAR: Tool = Tool { name: "GNU tar", probes: &[&["tar", "--version"]], hint: "apt-get install tar" };

const GZIP: Tool = Tool { name: "gzip", probes: &[&["gzip", "--version"]], hint: "apt-get install gzip" };

const DPKG_DEB: Tool = Tool { name: "dpkg-deb", probes: &[&["dpkg-deb", "--version"]], hint: "apt-get install dpkg" };

const DEBOOTSTRAP: Tool =
    Tool { name: "debootstrap", probes: &[&["debootstrap", "--version"]], hint: "apt-get install debootstrap" };

const UNSHARE: Tool = Tool {
    name: "unshare, nsenter and chroot, run by root",
    probes: &[&["unshare", "--mount", "--pid", "--net", "--fork", "nsenter", "--version"]],
    hint: "apt-get install util-linux, and become root",
};

const IP: Tool = Tool { name: "ip", probes: &[&["ip", "-Version"]], hint: "apt-get install iproute2" };

const READELF: Tool = Tool { name: "readelf", probes: &[&["readelf", "--version"]], hint: "apt-get install binutils" };

const QEMU: Tool = Tool {
    name: "qemu-aarch64-static",
    probes: &[&["qemu-aarch64-static", "--version"]],
    hint: "apt-get install qemu-user-static",
};

/// What building and packing needs, Rust's targets aside.
pub(super) fn to_build() -> Vec<Tool> {
    vec![CARGO_ZIGBUILD, ZIG, CARGO_DEB, TAR, GZIP]
}

/// What trying it out needs.
pub(super) fn to_verify() -> Vec<Tool> {
    vec![CARGO_DEB, TAR, GZIP, DPKG_DEB, DEBOOTSTRAP, UNSHARE, IP, READELF, QEMU]
}

/// What packing needs, and what looking into the packages needs; for tests that pass over where it is missing.
pub fn missing_to_pack() -> Vec<String> {
    missing(&[CARGO_DEB, TAR, GZIP, DPKG_DEB])
}

/// Fails with a line for each tool that is missing.
pub(super) fn check(tools: &[Tool]) -> anyhow::Result<()> {
    let mut missing = missing(tools);
    if tools.iter().any(|tool| tool.name == CARGO_ZIGBUILD.name) {
        let targets = Arch::ALL.map(Arch::triple).into_iter().filter(|triple| !has_target(triple));
        missing.extend(targets.map(|triple| format!("Rust's target {triple}: rustup target add {triple}")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this needs more tools than are here:\n  {}", missing.join("\n  "))
}

/// Runs a command whose words go to stderr; an error names it.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}): {command:?}");
    }
    Ok(())
}

fn missing(tools: &[Tool]) -> Vec<String> {
    let missing = tools.iter().filter(|tool| !tool.probes.iter().any(|probe| works(probe)));
    missing.map(|tool| format!("{}: {}", tool.name, tool.hint)).collect()
}

fn works(probe: &[&str]) -> bool {
    let quiet =
        |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new(probe[0]).args(&probe[1..])).is_ok_and(|status| status.success())
}

fn has_target(triple: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", triple]).output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_tool_is_named_with_the_way_to_get_it() {
        let nothing = |name, hint| Tool { name, probes: &[&["a-program-that-nobody-has"]], hint };
        let here = Tool { name: "cargo", probes: &[&["nothing-either"], &["cargo", "--version"]], hint: "" };
        let error = check(&[nothing("one", "get one"), here, nothing("two", "get two")]).unwrap_err().to_string();
        assert_eq!(error.lines().skip(1).collect::<Vec<_>>(), ["  one: get one", "  two: get two"]);
        check(&[]).unwrap();
    }
}
