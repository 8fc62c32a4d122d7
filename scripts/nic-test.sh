#!/usr/bin/env bash
# Checks nic.sh on machines that are only folders. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/nic-test.sh

Runs scripts/nic.sh on folders that look like /sys, /proc, /etc, /run and /dev of machines with network cards, with a
kernel that is a Python program. Needs no card and no root, and touches nothing of this machine. Prints one line for each
check; the last line is "N passed, M failed". Exit status 0 when nothing failed.
EOF
}

case ${1-} in
'') exec_lab lab.nics ;;
-h | --help) usage ;;
*) usage_error "unknown option $1" ;;
esac
