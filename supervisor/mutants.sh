#!/bin/sh
# Changes the pure parts of Suction Cup and the contract one place at a time and says which change no test notices.
# It takes hours. Arguments go to `cargo mutants` (27.1 was used): `--file supervisor/src/select.rs`, `--list`, ….
#
# Only the unit tests run for each change, without the exhaustive search: the tests with real processes and the search
# take minutes each. So what only those notice is reported as missed.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- \
    --file supervisor/src/select.rs --file supervisor/src/restart.rs --file 'supervisor/src/machine/*.rs' \
    --file supervisor/src/settings.rs --file supervisor/src/bundle.rs --file supervisor/src/end.rs \
    --file supervisor/src/args.rs --file 'crates/contract/src/*.rs'
exec cargo mutants -p suction-cup -p contract --jobs 1 "$@"
