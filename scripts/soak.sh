#!/usr/bin/env bash
# Runs the engine in the lab for half an hour under everything at once. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "*) exec_lab lab.soak "$@" ;;
esac

need_engine "$@"
exec_lab lab.soak "$@"
