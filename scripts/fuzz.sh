#!/usr/bin/env bash
# Fuzzes the parsers and state machines that peers can reach, guided by coverage. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A crate_of=(
    [segment]=tcp-stack [reassembly]=tcp-stack [connection]=tcp-stack
    [packet]=engine [lenient]=engine [fragments]=engine [client_hello]=engine [http1]=engine [http1_rules]=engine [http2]=engine [http2_relay]=engine
    [certificate]=engine [server_flight]=engine [fetched]=engine [relay]=engine [quic]=engine [starttls]=engine [body]=engine [icap]=engine [signatures]=engine
)
order=(segment reassembly connection packet lenient fragments client_hello http1 http1_rules http2 http2_relay certificate server_flight fetched relay quic starttls body icap signatures)

usage() {
    cat <<EOF
Usage: scripts/fuzz.sh [--seconds N | --hours N] [--keep] [--list] [TARGET | CRATE]...

Fuzzes the parsers and state machines, one target after the other, starting from the corpus in the repository. Needs a C++
compiler; cargo-fuzz is installed from crates.io if it is missing. A stable toolchain is enough: the targets contain no
unsafe code of ours, so they are built without a sanitizer. The last line is "N passed, M failed".

  scripts/fuzz.sh --seconds 5 tcp-stack     every target of one crate, briefly
  scripts/fuzz.sh --hours 8                 all targets, overnight

  tcp-stack     segment       TCP header and options
                reassembly    received bytes, compared with a naive map
                connection    calls, segments and times in any order, both roles and adopted
  engine        packet        classifying frames and scrubbing SYNs
                lenient       the same frames, compared with a parser as lenient as a host
                fragments     putting IP fragments together
                client_hello  TLS ClientHello
                http1, http2  the HTTP readers, HPACK included
                http1_rules   rules and changed heads on HTTP/1; another reader checks the result
                http2_relay   rules on HTTP/2 between two ends that send anything; a reader checks the result
                certificate   certificates printed as text
                server_flight a server's first flight, cut at any place
                fetched       downloaded CRLs, OCSP responses and issuers, and their URLs
                relay         TLS records between two ends that send anything
                quic          the first packets of QUIC, correctly encrypted
                starttls      plain text before TLS in five protocols, cut at any place
                body          content codings and types of files
                icap          answers of ICAP servers
                signatures    signatures in content, cut at any place

  --seconds N   run each target for N seconds (default: 60)
  --hours N     run all targets for N hours together, in equal shares
  --keep        add new inputs to the corpus in the repository, as few as reach new code
  --list        print the names of the targets
  --help        this text

New inputs go to CRATE/fuzz/target/found/TARGET, the log of a run to target/fuzz-logs/TARGET.log. An input that fails is
kept in CRATE/fuzz/artifacts/TARGET, and the command that repeats it is printed. Make it a named regression test. "cargo
test" runs the same targets without libFuzzer, over the corpus and small changes of it.
EOF
}

seconds=60 hours='' keep='' chosen=()
while (($#)); do
    case $1 in
    --seconds)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage_error "--seconds wants a number"
        seconds=$2
        shift
        ;;
    --hours)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || usage_error "--hours wants a number"
        hours=$2
        shift
        ;;
    --keep) keep=1 ;;
    --list)
        printf '%s\n' "${order[@]}"
        exit 0
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    tcp-stack | engine)
        for target in "${order[@]}"; do
            [[ ${crate_of[$target]} != "$1" ]] || chosen+=("$target")
        done
        ;;
    *)
        [[ -n ${crate_of[$1]:-} ]] || usage_error "no target $1: one of ${order[*]}"
        chosen+=("$1")
        ;;
    esac
    shift
done
((${#chosen[@]})) || chosen=("${order[@]}")
[[ -z $hours ]] || seconds=$((hours * 3600 / ${#chosen[@]}))

need_cargo
command -v c++ >/dev/null || die "no C++ compiler for libFuzzer: apt-get install g++"
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "installing cargo-fuzz from crates.io"
    cargo install --quiet --locked cargo-fuzz
fi
cd "$root"
logs=$root/target/fuzz-logs
mkdir -p "$logs"

# COMMAND TARGET [ARGUMENT]...
fuzz() {
    local command=$1 target=$2
    shift 2
    cargo fuzz "$command" --fuzz-dir "${crate_of[$target]}/fuzz" --sanitizer none "$target" "$@"
}

# The newest line of a log that says how far it is.
progress() { grep -aE '^#[0-9]+|Compiling' "$1" | tail -n 1 | cut -c 1-100 || true; }

# Runs a command in the background with its output in a log, and tells now and then how far it is.
watch() {
    local log=$1 status=0 began=$SECONDS next=15 pid
    shift
    "$@" >>"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if ((SECONDS - began >= next)); then
            say "   ${dim}$((SECONDS - began)) s: $(progress "$log")${plain}"
            next=$((next + (seconds > 300 ? 60 : 15)))
        fi
    done
    wait "$pid" || status=$?
    return "$status"
}

# Adds what was found to the kept corpus, as few inputs as reach new code: how often they reach it is not asked, or there would be thousands. What
# is kept stays, as some of it has shown a fault.
keep_found() {
    local target=$1 found=$2 corpus=$3
    fuzz run "$target" "$corpus" "$found" -- -merge=1 -use_counters=0 -max_len=2048 >>"$logs/$target.log" 2>&1
    say "   kept: $(find "$corpus" -type f | wc -l) inputs, $(du -sh --apparent-size "$corpus" | cut -f 1)"
}

run_target() {
    local target=$1 log=$logs/$1.log dir=${crate_of[$1]}/fuzz status=0 input
    local found=$dir/target/found/$target corpus=$dir/corpus/$target
    mkdir -p "$found"
    say "${bold}== $target${plain}"
    : >"$log"
    watch "$log" fuzz build "$target" || status=$?
    # New inputs go to the first folder; the kept corpus is only read.
    ((status)) || watch "$log" fuzz run "$target" "$found" "$corpus" -- -max_total_time="$seconds" \
        -max_len=2048 -timeout=10 -print_final_stats=1 || status=$?
    if ((status)); then
        tail -n 30 "$log"
        input=$(grep -aoE "[^ ]*artifacts/$target/[a-z]+-[0-9a-f]+" "$log" | tail -n 1) || true
        say "   ${red}FAILED${plain} (exit $status); input: ${input:-none}; full output: ${log#"$root"/}"
        [[ -z $input ]] || say "   to repeat it: cargo fuzz run --fuzz-dir $dir --sanitizer none $target $input"
        return 1
    fi
    say "   $(progress "$log")"
    [[ -z $keep ]] || keep_found "$target" "$found" "$corpus"
}

passed=0 failed=0
for target in "${chosen[@]}"; do
    if run_target "$target"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
say "$passed passed, $failed failed"
((failed == 0))
