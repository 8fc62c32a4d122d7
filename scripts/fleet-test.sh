#!/usr/bin/env bash
# Runs three engines as one: network namespaces, two routers with equal-cost paths, etcd, a hundred clients. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "* | *" --list "*) exec_lab lab.fleet "$@" ;;
esac

need_engine "$@"
# Another version, to be one fleet with the one that is tested. Who brings an engine along brings that, too (`--other FILE`), or goes without.
if [[ " $* " != *" --binary"* ]]; then
    say "release build of another version"
    other=$root/target/release/wireglass-next
    cp -p "$root/target/release/wireglass" "$other.kept"
    (cd "$root" && cargo build --release --locked -p wireglass --features dpdk,fleet,next-version)
    mv "$root/target/release/wireglass" "$other"
    mv "$other.kept" "$root/target/release/wireglass"
    set -- --other "$other" "$@"
fi
exec_lab lab.fleet "$@"
