#!/usr/bin/env bash
# Runs three engines as one: network namespaces, two routers with equal-cost paths, etcd, a hundred clients. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "* | *" --list "*) exec_lab lab.fleet "$@" ;;
esac

need_engine "$@"
exec_lab lab.fleet "$@"
