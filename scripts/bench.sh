#!/usr/bin/env bash
# Measures the engine: the standard set, in under ten minutes. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF2
Usage: scripts/bench.sh [--quick] [--out FOLDER] [--records LIBRARY] [--against PROGRAM] [NAME...]
       scripts/bench.sh [--quick] [--out FOLDER] [--records LIBRARY] [--callgrind] --alone [NAME...]
       scripts/bench.sh --instructions [--save] [NAME...]

Builds the benchmark and runs the standard set, in under ten minutes. Needs libdpdk and two cores. Run it as root on a
shared machine: it then gets priority over other programs.

  scripts/bench.sh                          the standard set; table, run.json and plots in target/bench
  scripts/bench.sh --quick throughput       some scenarios, for a first look
  scripts/bench.sh --alone throughput       the engine's own cost, steady even on a busy machine
  scripts/bench.sh --instructions           counts instructions: the same on any machine load, in under a minute
  target/release/wireglass-bench compare A/run.json B/run.json

How it measures:
  by default      the engine runs between two DPDK rings, its worker on core 0, all clients and servers on core 1. Some
                  scenarios run the engine, or testpmd (package dpdk-dev) instead, in a process of its own, over memif
  --alone         one thread plays sender, engine and receiver in turn; only the engine's turns are timed: nanoseconds and
                  cycles for each payload byte, packet and connection
  --instructions  valgrind counts the instructions of header parse, flow lookup, segments, records, ClientHello, mint, and
                  an exchange with and without rules, and compares them with bench/instructions.json

Options:
  NAME            scenarios whose names contain this (default: the standard set; "wireglass-bench list" shows all names).
                  With --instructions: cases
  --quick         half a second for each scenario instead of two
  --out FOLDER    where run.json and plots (SVG) go (default: target/bench)
  --records LIBRARY
                  what encrypts the engine's records: auto (the faster one for each cipher suite; the default), aws-lc-rs
                  or ring
  --third-core N  core for the handshake thread of the storm (default: the core of clients and servers)
  --against PROGRAM
                  compare with another build of wireglass-bench: each scenario runs with both in turn, nine times; prints
                  the median of the ratios, and writes pairs.json to FOLDER
  --alone         only scenarios of the engine alone (names begin with "alone-")
  --callgrind     with --alone: also count the instructions of the engine's turns, under valgrind, and leave the profiles
                  in FOLDER. Ten seconds for each scenario; its times mean nothing
  --instructions  count instructions
  --save          with --instructions: keep these counts as the new baseline
  --help          this text

Exit status 1 if a scenario failed, or had retransmissions, drops, failed connections or lost buffers; or if a count rose
by more than 2 %.
EOF2
}

seconds=2 instructions='' against='' counts='' save=() alone=() callgrind=()
names=() cores=() records=()
cd "$root"
out=$root/target/bench
while (($#)); do
    case $1 in
    --quick) seconds=0.5 ;;
    --instructions) instructions=1 ;;
    --save) save=(--save) ;;
    --alone) alone=(--alone) ;;
    --callgrind) counts=1 ;;
    --against)
        against=$(realpath "${2:?--against wants a program}")
        shift
        ;;
    --out)
        out=${2:?--out wants a folder}
        shift
        ;;
    --records)
        records=(--records "${2:?--records wants auto, aws-lc-rs or ring}")
        shift
        ;;
    --third-core)
        cores=(--pool-core "${2:?--third-core wants a number}")
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    -*) usage_error "unknown option $1" ;;
    *) names+=("$1") ;;
    esac
    shift
done

need_cargo
if [[ -n $instructions ]]; then
    command -v valgrind >/dev/null || die "no valgrind; scripts/setup.sh --all installs it"
    cargo build --quiet --locked --release -p wireglass-bench --bin wireglass-instructions
    exec target/release/wireglass-instructions "${save[@]}" "${names[@]}"
fi
((${#save[@]} == 0)) || usage_error "--save goes with --instructions"
if [[ -n $counts ]]; then
    ((${#alone[@]})) || usage_error "--callgrind goes with --alone"
    command -v valgrind >/dev/null || die "no valgrind; scripts/setup.sh --all installs it"
fi
cargo build --quiet --locked --release -p wireglass-bench --bin wireglass-bench
mkdir -p "$out"
if [[ -n $counts ]]; then
    # Under valgrind everything is fifty times slower.
    callgrind=(--callgrind "$out") seconds=10
fi
how=(--seconds "$seconds" "${cores[@]}" "${records[@]}" "${alone[@]}")
if [[ -n $against ]]; then
    bench=(target/release/wireglass-bench pairs "$against" "${how[@]}" --json "$out/pairs.json" "${names[@]}")
else
    bench=(target/release/wireglass-bench run "${how[@]}" "${callgrind[@]}" --json "$out/run.json" --plots "$out" "${names[@]}")
fi
if ((EUID == 0)); then
    # The kernel weighs sessions, then threads: a session of its own, before all others.
    # shellcheck disable=SC2016 # the inner shell expands it
    exec setsid --wait bash -c 'echo -20 2>/dev/null >/proc/self/autogroup || true; exec nice -n -20 "$@"' bench "${bench[@]}"
fi
exec "${bench[@]}"
