#!/usr/bin/env bash
# Links DPDK into the binaries and runs them. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/static-test.sh

Tests the builds that contain DPDK (feature "static"): the engine, and the tests of the DPDK bindings. Checks that none
of them needs a DPDK library to start, runs the bindings' tests, and runs the engine between two ports, with a service
manager watching. Needs root. Exit status 0 if nothing failed.
EOF
}

case ${1-} in
'') ;;
-h | --help)
    usage
    exit 0
    ;;
*) usage_error "unknown option $1" ;;
esac

need_root
need_cargo
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bindings=(cargo test --locked -p dpdk --features static)
engine=(cargo test --locked -p wireglass --features static --test supervised)
for build in bindings engine; do
    declare -n command=$build
    "${command[@]}" --no-run --message-format=json-render-diagnostics >>"$work/json"
done
# The engine, and what tests dpdk with the library itself: "supervised" is linked with nothing of it.
sed -nE 's/.*"executable":"([^"]+)".*/\1/p' "$work/json" | grep -vE '/(supervised|rings)-' >"$work/linked"
passed=0 failed=0 whole=
while read -r program; do
    if readelf -d "$program" | grep NEEDED | grep librte_; then
        say "FAILED: ${program#"$root"/} needs these"
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
    [[ $program != */wireglass ]] || whole=$program
done <"$work/linked"
[[ -n $whole ]] || die "cargo built no engine"
# Nobody calls drivers: they are there only if whole archives were linked. That of the pools is called for when the engine runs.
for driver in net_ixgbe net_mlx5 net_virtio; do
    if grep -qa "$driver" "$whole"; then
        passed=$((passed + 1))
    else
        say "FAILED: the engine has no $driver inside"
        failed=$((failed + 1))
    fi
done
say "$passed passed, $failed failed"
((failed == 0))
"${bindings[@]}"
"${engine[@]}"
