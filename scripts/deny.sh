#!/usr/bin/env bash
# Checks the crates that wireglass is built from: licences, bans, sources and advisories. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/deny.sh

Checks every Cargo.lock against deny.toml, with cargo-deny (scripts/setup.sh --deny builds it):

  licences    of everything the engine is built from; the fuzzers are not shipped
  bans        unwanted crates. A crate in two versions is a warning, unless deny.toml names it
  sources     only crates.io
  advisories  RustSec's database. If it cannot be downloaded, this check is skipped and named; the others run

Prints one line for each check; the last line is "N passed, M failed". Exit status 0 if nothing failed.

  --help      this text
EOF
}

case ${1:-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
*) usage_error "unknown option $1" ;;
esac

need_cargo
"$root/scripts/setup.sh" --deny --quiet
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# MANIFEST COMMAND [ARGUMENT]...
deny() {
    local manifest=$1
    shift
    "$tools/bin/cargo-deny" --config deny.toml --manifest-path "$manifest" --color never --locked "$@"
}

# A warning is shown as well: "check" shows only what failed said.
holds() {
    local what=$1 manifest=$2
    shift 2
    check "$what" deny "$manifest" check --hide-inclusion-graph "$@"
    grep -E '^warning' "$work/said" || true
}

holds "licences" Cargo.toml licenses
holds "bans" Cargo.toml bans
for manifest in Cargo.toml {tcp-stack,engine}/fuzz/Cargo.toml; do
    holds "sources, ${manifest%Cargo.toml}Cargo.lock" "$manifest" sources
done
if timeout 120 "$tools/bin/cargo-deny" --config deny.toml --color never fetch db >"$work/fetched" 2>&1; then
    for manifest in Cargo.toml {tcp-stack,engine}/fuzz/Cargo.toml; do
        holds "advisories, ${manifest%Cargo.toml}Cargo.lock" "$manifest" advisories
    done
else
    say "skipped advisories: RustSec's database cannot be fetched here"
    grep -m 1 -E '^(fatal|error)' "$work/fetched" || tail -n 3 "$work/fetched"
fi
say "$passed passed, $failed failed"
((failed == 0))
