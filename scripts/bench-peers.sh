#!/usr/bin/env bash
# Compares the engine with HAProxy, nginx, SSLsplit, Squid and mitmproxy. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "*) exec_lab lab.proxies "$@" ;;
esac

need_root
"$root/scripts/setup.sh" --peers --quiet
need_engine "$@"
exec_lab lab.proxies "$@"
