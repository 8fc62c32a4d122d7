#!/usr/bin/env bash
# Shows wireglass at work to a newcomer, from a clean machine to decrypted requests. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/demo.sh [--fast] [--xdp]

Installs the packages it needs (Debian 12, as root), builds wireglass, and puts it as a piece of wire between two
network namespaces: curl on one side, nginx on the other, the engine's two DPDK ports between them. Then curl makes
five visits, and you see what curl saw and what the engine's log says:

  1. one that is decrypted, with the certificate that curl got and the request that the engine read
  2. one that a rule leaves alone
  3. one that a rule blocks
  4. one whose certificate has expired
  5. one page of the first that a rule on content blocks: the page that curl gets instead

Nothing stays behind (packages apart): namespaces, processes and files are removed at the end, on Ctrl-C too.
Exit status: 0 when all came out as expected, 1 when something did not.

  --xdp     the engine's ports are AF_XDP sockets; packet sockets, with a word, where the kernel has no AF_XDP
  --fast    no pauses for the reader
  --help    this text
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
say "${dim}packages${plain}"
"$root/scripts/setup.sh"
say "${dim}release build with DPDK ports (several minutes the first time)${plain}"
build_release
exec_lab lab.demo "$root/target/release/wireglass" ${options[@]+"${options[@]}"}
