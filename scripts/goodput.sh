#!/usr/bin/env bash
# Compares what real hosts get through the engine with what they get without it. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "*) exec_lab lab.goodput "$@" ;;
esac

need_engine "$@"
exec_lab lab.goodput "$@"
