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

Builds and runs the benchmark: the engine between two rings of DPDK, its worker on core 0, all clients and servers on
core 1; some scenarios have the engine, or testpmd (package dpdk-dev) in its place, in a process of its own, on memif.
Prints a table, and leaves run.json and plots (SVG) in FOLDER. Compare two runs with
"wireglass-bench compare A/run.json B/run.json". Needs libdpdk and two cores; as root it runs before other programs,
which on a shared machine is worth much.

With --alone one thread plays sender, engine and receiver in turn, and only the engine's turns are timed: nanoseconds and
cycles for each payload byte, packet and connection, on a busy machine too.

With --instructions it counts instead, under valgrind, the instructions of header parse, flow lookup, segments, records,
ClientHello, mint, and an exchange with and without rules, and compares them with bench/instructions.json: the same on a busy machine, in under a minute after
the build.

  NAME            scenarios whose names contain it; without one the standard set ("wireglass-bench list"). With
                  --instructions: cases
  --quick         half a second for each scenario instead of two
  --third-core N  a core for the handshakes of the storm; without it they share the one of the clients and servers
  --alone         scenarios of the engine alone (their names begin with "alone-"); names choose among them
  --callgrind     with --alone: counts the instructions of the engine's turns too, under valgrind, and leaves the profiles
                  in FOLDER. Ten seconds of each scenario, whose times mean nothing
  --against PROGRAM
                  another build of wireglass-bench: each scenario runs with both in turns, nine times; prints the median of
                  the ratios, and leaves pairs.json in FOLDER
  --records LIBRARY
                  what protects the engine's records: auto (the faster one of each suite, also without this), aws-lc-rs or ring
  --out FOLDER    instead of target/bench
  --instructions  count instructions
  --save          keep these counts as the ones to compare with
  --help          this text

Exit status 1: a scenario failed, or had retransmissions, drops, failed connections or lost buffers; or a count rose by
more than 2 %.
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
