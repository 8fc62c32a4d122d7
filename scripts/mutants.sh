#!/usr/bin/env bash
# Changes the code in small ways, and looks whether a test notices. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What may be changed, and the tests that ought to notice: those of the package that take seconds. Others are not built, which would
# take most of the time. All of an area would take days of a core.
declare -A files_of=(
    [tcp-stack]='tcp-stack/src/**'
    [packet]='engine/core/src/packet/**'
    [reassembly]='engine/core/src/reassembly/**'
    [policy]='engine/core/src/policy/**'
    [content]='engine/core/src/content/**'
    [certificate]='engine/core/src/{x509/**,mint/**,tls/verify.rs,tls/verify/**}'
)
declare -A tests_of=(
    [tcp-stack]=''
    [packet]='--lib --test=too_big_messages'
    [reassembly]='--test=reassembly'
    [policy]='--lib --test=policy_* --test=lists_formats'
    [content]='--lib --test=content_* --test=inspect_* --test=rules_*'
    [certificate]='--lib --test=verify_* --test=mint_*'
)
order=(tcp-stack packet reassembly policy content certificate)

usage() {
    cat <<EOF
Usage: scripts/mutants.sh [--sample K/N] [--jobs J] [--list] [AREA]...

Tests the tests. It changes the code in one place (turns a comparison round, makes a function return at once), builds,
and runs the tests of that area. If no test fails, a test is missing, or the line is not needed. cargo-mutants makes the
changes; it is built from crates.io the first time. Each mutant takes ten seconds to a minute of one core.

  scripts/mutants.sh --sample 0/30 packet     every 30th mutant of one area

Areas (default: all):
  tcp-stack      the TCP of both ends
  packet         classifying frames, keys, scrubbing
  reassembly     IP fragments
  policy         rules on connections and content, lists
  content        the HTTP readers, the rules, signatures, decoding
  certificate    X.509, verification, minting

  --sample K/N  take every N-th mutant, starting with the K-th (0 to N - 1; default 0/40)
  --jobs J      mutants at a time (default: 1)
  --list        print how many mutants each area has
  --help        this text

scripts/mutants.toml lists mutants that no test can notice, each with its reason. Missed mutants are in
target/mutants/AREA/mutants.out/missed.txt. The last line is "N caught, M missed". Exit status 0 if at least 95 % of each
area were caught.
EOF
}

sample=0/40 jobs=1 list='' chosen=()
while (($#)); do
    case $1 in
    --sample)
        [[ ${2:-} =~ ^[0-9]+/[1-9][0-9]*$ ]] || usage_error "--sample wants K/N, as 0/40"
        ((${2%/*} < ${2#*/})) || usage_error "--sample $2: the first is 0/${2#*/}, the last $((${2#*/} - 1))/${2#*/}"
        sample=$2
        shift
        ;;
    --jobs)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage_error "--jobs wants a number"
        jobs=$2
        shift
        ;;
    --list) list=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        [[ -n ${files_of[$1]:-} ]] || usage_error "no area $1: one of ${order[*]}"
        chosen+=("$1")
        ;;
    esac
    shift
done
((${#chosen[@]})) || chosen=("${order[@]}")

need_cargo
"$root/scripts/setup.sh" --mutants --quiet
cd "$root"

package_of() { if [[ $1 == tcp-stack ]]; then echo tcp-stack; else echo wireglass-core; fi; }

# AREA [ARGUMENT]...
mutants() {
    local area=$1
    shift
    "$tools/bin/cargo-mutants" mutants --config scripts/mutants.toml --package "$(package_of "$area")" --file "${files_of[$area]}" "$@"
}

if [[ $list ]]; then
    for area in "${chosen[@]}"; do
        printf '%-12s %6d\n' "$area" "$(mutants "$area" --list | wc -l)"
    done
    exit 0
fi

# The core without optimisation, as building is most of what a mutant costs. Dependencies stay as they are.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=false
profile=--config=profile.dev.package.wireglass-core.opt-level=0
# Tests of other areas, and of HTTP/2 between peers, that then take most of the time of all.
slow=(--skip timer_wheel:: --skip shared_chains:: --skip http2_tests::peers::)
# Of dependencies, what one area has built serves the next. Several jobs would build over each other.
((jobs > 1)) || export CARGO_TARGET_DIR=$root/target/mutants/build

# How many lines a list has; none is none.
count() { if [[ -e $1 ]]; then wc -l <"$1"; else echo 0; fi; }

caught=0 missed=0 weak=()
for area in "${chosen[@]}"; do
    out=$root/target/mutants/$area
    rm -rf "$out"
    mkdir -p "$out"
    read -ra tests <<<"${tests_of[$area]}"
    # As arguments of every call of Cargo, not of tests alone: else it builds all tests.
    tests=("${tests[@]/#/--cargo-arg=}")
    say "${bold}== $area${plain}, sample $sample of $(mutants "$area" --list | wc -l)"
    # 2: some were missed, 3: some ran out of time. Others are faults of the run itself.
    status=0
    mutants "$area" --output "$out" --shard "$sample" --sharding round-robin --jobs "$jobs" --no-times --colors never --minimum-test-timeout 60 \
        --cargo-arg=--locked --cargo-arg="$profile" "${tests[@]}" -- -- "${slow[@]}" || status=$?
    ((status == 0 || status == 2 || status == 3)) || die "cargo-mutants failed (exit $status): $out/mutants.out/log has what cargo said"
    noticed=$(($(count "$out/mutants.out/caught.txt") + $(count "$out/mutants.out/timeout.txt")))
    unnoticed=$(count "$out/mutants.out/missed.txt")
    say "   $noticed caught, $unnoticed missed"
    # None at all is no share of 95 %: the sample was too small, or the files are elsewhere now.
    ((noticed + unnoticed > 0 && noticed * 100 >= (noticed + unnoticed) * 95)) || weak+=("$area")
    caught=$((caught + noticed)) missed=$((missed + unnoticed))
done
((${#weak[@]} == 0)) || say "under 95 %: ${weak[*]}"
say "$caught caught, $missed missed"
((${#weak[@]} == 0))
