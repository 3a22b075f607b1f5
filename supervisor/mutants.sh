#!/bin/sh
# Changes Suction Cup and the contract one place at a time and says which change no test notices. It takes hours.
#
# Without arguments everything is changed: first what unit tests show (`.cargo/mutants.toml`), then what needs real
# processes (`supervisor/mutants-shell.toml`, with `cargo-nextest`). With arguments, which go to `cargo mutants` (27.1 was
# used), only the first: `--file supervisor/src/select.rs`, `--list`, ….
set -eu
cd "$(dirname "$0")/.."
# Fewer random histories and walks than a plain run of the tests makes, and less patience with what never comes.
export SUCTION_CUP_HISTORIES=100 SUCTION_CUP_WALKS=40 OCTOPUS_TEST_PATIENCE=15
if [ $# -gt 0 ]; then
    exec cargo mutants -p suction-cup -p contract --jobs 1 "$@"
fi
cargo mutants -p suction-cup -p contract --jobs 1 --output target/mutants-unit
exec cargo mutants -p suction-cup --jobs 1 --config supervisor/mutants-shell.toml --output target/mutants-shell
