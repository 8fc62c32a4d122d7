#!/usr/bin/env bash
# Checks nic.sh on machines that are only folders. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/nic-test.sh

Tests scripts/nic.sh on folders that imitate /sys, /proc, /etc, /run and /dev of machines with network cards; a Python
program plays the kernel. Needs no card and no root, and touches nothing of this machine.

Prints one line for each check; the last line is "N passed, M failed". Exit status 0 if nothing failed.
EOF
}

case ${1-} in
'') exec_lab lab.nics ;;
-h | --help) usage ;;
*) usage_error "unknown option $1" ;;
esac
