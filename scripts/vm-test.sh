#!/usr/bin/env bash
# Runs the engine in a virtual machine, on NICs that are bound to vfio-pci. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case " $* " in
*" --help "* | *" -h "* | *" --list "*) exec_lab lab.vm "$@" ;;
esac

need_root
"$root/scripts/setup.sh" --vm --quiet || exit 77
need_engine "$@"
exec_lab lab.vm "$@"
