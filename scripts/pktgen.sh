#!/usr/bin/env bash
# Searches lossless rates by frame size, and floods the engine beside TLS traffic. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "* | *" --write "*) exec_lab lab.pktgen "$@" ;;
esac

need_engine "$@"
exec_lab lab.pktgen "$@"
