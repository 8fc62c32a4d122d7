#!/usr/bin/env bash
# Runs the lab's checks: the engine between two network namespaces, with real clients and servers. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "* | *" --list "*) exec_lab lab "$@" ;;
esac

need_root
"$root/scripts/setup.sh" --quiet
if [[ " $* " != *testpmd* ]]; then
    say "release build with DPDK ports"
    build_release
fi
exec_lab lab "$@"
