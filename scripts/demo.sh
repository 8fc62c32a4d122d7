#!/usr/bin/env bash
# Shows wireglass at work to a newcomer, from a clean machine to decrypted requests. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/demo.sh [--fast] [--xdp]

Shows wireglass at work. Needs root and Debian 12 with Rust. Installs the packages it needs, builds the engine, and puts
it as a piece of wire between two network namespaces: curl on one side, nginx on the other. Then curl makes five visits.
For each you see what curl got, and what the engine logged:

  1. decrypted: the certificate that curl got, and the request that the engine read
  2. bypassed by a rule
  3. blocked by a rule
  4. a server whose certificate has expired
  5. decrypted, with a page blocked by a content rule: curl gets the block page instead

At the end, and on Ctrl-C, it removes namespaces, processes and files. Only the packages stay.

  --xdp     use AF_XDP sockets as the engine's ports; if the kernel has no AF_XDP, it says so and uses packet sockets
  --fast    no pauses for the reader
  --help    this text

Exit status 0 if all went as expected, else 1.
EOF
}

options=()
for word in "$@"; do
    case $word in
    --fast | --xdp) options+=("$word") ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $word" ;;
    esac
done

need_root
say "${bold}wireglass: a demonstration${plain}"
say "${dim}installing packages${plain}"
"$root/scripts/setup.sh" --demo
say "${dim}building the engine with DPDK ports: several minutes the first time${plain}"
build_release
exec_lab lab.demo "$root/target/release/wireglass" ${options[@]+"${options[@]}"}
