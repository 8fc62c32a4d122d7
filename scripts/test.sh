#!/usr/bin/env bash
# Sets everything up and runs the tests. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stages=(setup format lint deny msrv unit miri fuzz docs scripts nic dpdk crates build deploy image package lab pktgen)
# With --long, after the others: each takes many minutes, for what few changes touch.
long=(vm ring-alone aws-lc-rs-alone miri-core lab-ring static ports fleet grid)

usage() {
    cat <<EOF
Usage: scripts/test.sh [--quick | --long] [--only STAGE]... [--list]

Installs what is missing and runs all tests, stage by stage. Needs root, Debian 12 and Rust. A failed stage does not
stop the run.

  scripts/test.sh --quick          while you write: no lab, no release build
  scripts/test.sh                  before a pull request
  scripts/test.sh --long           before a release: two hours
  scripts/test.sh --only lint      one stage

Stages:
  setup       install Debian packages (scripts/setup.sh --all)
  format      cargo fmt --check
  lint        clippy over the whole workspace; warnings are errors
  deny        scripts/deny.sh: licences, bans, sources and advisories of all crates
  msrv        cargo check with the oldest Rust that Cargo.toml promises; skipped if it cannot be installed in a minute
  unit        cargo test over the whole workspace, with the DPDK bindings
  miri        unit tests of tcp-stack in Miri; skipped if nightly Rust has no Miri
  fuzz        scripts/fuzz.sh: each target of tcp-stack for a few seconds, guided by coverage
  docs        cargo doc, warnings are errors; scripts/docs.sh: the web site and its links
  scripts     shellcheck; Python and Lua must compile
  nic         scripts/nic-test.sh: hugepages and vfio-pci, on folders that imitate machines
  dpdk        scripts/dpdk-versions.sh: the bindings with other releases of DPDK
  crates      cargo package of the crates meant for crates.io
  build       release build with DPDK ports
  deploy      scripts/deploy-test.sh: systemd unit, Kubernetes manifests
  image       scripts/image-test.sh: container image; skipped if its packages cannot be downloaded
  package     scripts/package-test.sh: Debian package: install, upgrade, remove; skipped if Debian's packages cannot be downloaded
  lab         scripts/lab-test.sh: real clients and servers; checks that depend on the crypto provider run with both
  pktgen      scripts/pktgen.sh --quick: no lost frame, floods beside downloads

With --long also:
  vm          scripts/vm-test.sh: NICs bound to vfio-pci in a virtual machine; skipped if QEMU cannot be installed
  ring-alone, aws-lc-rs-alone
              the engine built with only one crypto library; the lab runs it with either
  miri-core   unit tests of the engine's core in Miri: packets and tables, nothing that calls cryptography
  lab-ring    the whole lab with ring
  static      scripts/static-test.sh: DPDK inside the binaries
  ports       the lab's wire on other kinds of ports: tap, memif, virtio_user, vhost
  fleet       scripts/fleet-test.sh: three engines in one fleet between two routers, with etcd
  grid        thousands of runs of tcp-stack over bad links

Options:
  --quick       leave out build, deploy, image, package, lab and pktgen
  --long        run all stages. Never included: scripts/soak.sh, scripts/mutants.sh, and fuzzing of the engine
                (scripts/fuzz.sh)
  --only STAGE  run one stage; repeatable
  --list        print the names of the stages
  --help        this text

The last line is "N passed, M failed": it counts Rust tests, lab checks, and one for each other stage. Above it stands
how long each stage took, longest first. Whatever a stage skips is named and does not count as passed. Each stage's
output is in target/test-logs/STAGE.log.

Exit status 0 if nothing failed.
EOF
}

stage_setup() { scripts/setup.sh --all; }
stage_format() { cargo fmt --all --check; }
stage_lint() { cargo clippy --locked --workspace --all-targets --features wireglass/dpdk,wireglass/fleet -- -D warnings; }
stage_deny() { scripts/deny.sh; }
# Clippy's incompatible_msrv, in "lint", knows of which version each function of std is; what only a compiler knows is checked here.
stage_msrv() {
    local oldest
    oldest=$(sed -nE 's/^rust-version = "(.*)"$/\1/p' Cargo.toml)
    [[ -n $oldest ]] || die "Cargo.toml has no rust-version"
    if ! has_toolchain "$oldest"; then
        if ! command -v rustup >/dev/null || [[ ${RUSTUP_AUTO_INSTALL:-1} == 0 ]]; then
            say "skipped msrv: Rust $oldest is not installed, and cannot be: rustup is missing, or RUSTUP_AUTO_INSTALL=0 forbids it"
            return "$skip"
        fi
        if ! timeout 60 rustup toolchain install --profile minimal --no-self-update "$oldest"; then
            say "skipped msrv: Rust $oldest could not be installed in a minute"
            return "$skip"
        fi
    fi
    # Build tools need no optimisation here, and everything is built anew for another compiler.
    cargo "+$oldest" check --locked --workspace --features wireglass/dpdk,wireglass/fleet --config 'profile.dev.package."*".opt-level=0'
}
# rustup would install what is asked for.
has_toolchain() { RUSTUP_AUTO_INSTALL=0 cargo "+$1" --version >/dev/null 2>&1; }
stage_ring-alone() { with_provider ring; }
stage_aws-lc-rs-alone() { with_provider aws-lc-rs; }
with_provider() {
    cargo clippy --locked -p wireglass-core -p wireglass -p wireglass-testbed -p wireglass-demo --all-targets --no-default-features --features "$1" -- -D warnings
}
stage_unit() { cargo test --locked --workspace --features wireglass/dpdk,wireglass/fleet --no-fail-fast; }
# Miri interprets, so a few cases of each property. Without isolation, as proptest looks for its kept failures in files.
stage_miri() {
    has_miri || return "$skip"
    PROPTEST_CASES=16 MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --locked -p tcp-stack --lib
}
# One test sums 64 KB byte by byte, for ten minutes when interpreted.
stage_miri-core() {
    has_miri || return "$skip"
    PROPTEST_CASES=2 MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --locked -p wireglass-core --no-default-features --features ring --lib -- \
        packet:: flow_table aged_map --skip the_largest_packet_does_not_overflow
}
has_miri() {
    if ! has_toolchain nightly || ! cargo +nightly miri --version >/dev/null 2>&1; then
        say "skipped miri: Miri is not installed; to install it: rustup component add --toolchain nightly miri rust-src"
        return 1
    fi
}
# The engine's targets take minutes to build with libFuzzer; without it they run in "unit", over the kept corpus.
stage_fuzz() { scripts/fuzz.sh --seconds 5 tcp-stack; }
stage_docs() {
    RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --features wireglass/dpdk,wireglass/fleet || return
    PYTHONPATH=$root/scripts PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m unittest -q book.test_book || return
    scripts/docs.sh
}
stage_scripts() {
    shellcheck -x scripts/*.sh scripts/nic/*.sh .ci/run
    PYTHONPYCACHEPREFIX=$logs/pycache /usr/bin/python3 -W error -m compileall -q scripts/lab scripts/book
    # One at a time: Debian's luac dies of several.
    printf '%s\0' scripts/pktgen/*.lua | xargs -0 -n 1 luac5.4 -p
}
stage_nic() { scripts/nic-test.sh; }
stage_dpdk() { scripts/dpdk-versions.sh; }
# As crates.io would get them: a file that is left out, or a dependency without a version, is told here.
stage_crates() { cargo package --locked --no-verify --allow-dirty -p tcp-stack -p dpdk-sys -p dpdk; }
stage_static() { scripts/static-test.sh; }
stage_build() { build_release; }
stage_deploy() { scripts/deploy-test.sh; }
stage_image() { scripts/image-test.sh --binary target/release/wireglass; }
stage_package() { scripts/package-test.sh --binary target/release/wireglass; }
stage_lab() { scripts/lab-test.sh --provider both; }
stage_lab-ring() { scripts/lab-test.sh --provider ring; }
stage_ports() {
    local ports status=0
    for ports in tap memif virtio_user vhost; do
        scripts/lab-test.sh --ports "$ports" --only wire --only fetch --only bulk.download --only bypass --only block || status=1
    done
    return "$status"
}
stage_grid() { cargo test --locked --release -p tcp-stack --test grid -- --ignored; }
stage_fleet() { scripts/fleet-test.sh; }
stage_pktgen() { scripts/pktgen.sh --quick; }
stage_vm() { scripts/vm-test.sh; }

chosen=()
while (($#)); do
    case $1 in
    --quick) chosen=(setup format lint deny msrv unit miri fuzz docs scripts nic dpdk crates) ;;
    --long) chosen=("${stages[@]}" "${long[@]}") ;;
    --only)
        [[ " ${stages[*]} ${long[*]} " == *" ${2:-} "* ]] || usage_error "--only wants one of: ${stages[*]} ${long[*]}"
        chosen+=("$2")
        shift
        ;;
    --list)
        printf '%s\n' "${stages[@]}" "${long[@]}"
        exit 0
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
done
((${#chosen[@]})) || chosen=("${stages[@]}")

need_root
need_cargo
cd "$root"
logs=$root/target/test-logs
mkdir -p "$logs"
# What the stages in `may_skip` end with where what they run on cannot be had.
skip=77 may_skip=' msrv miri miri-core image package vm '
# These tell one line for each check: worth to be seen as it comes.
tells=' lab lab-ring vm '
passed=0 failed=0 broken=() skipped=() times=() child=

# A stage is a process group of its own, so that Ctrl-C ends all of it and the lab can clean up.
set -m
stop() {
    trap '' INT TERM
    if [[ -n $child ]] && kill -TERM -- "-$child" 2>/dev/null; then
        wait "$child" || true
    fi
    say "stopped"
    exit 130
}
trap stop INT TERM

# Sums up what a stage's log counts; a stage that counts nothing is one check.
count() {
    local log=$1 status=$2 good=0 bad=0 a b
    while read -r a b; do
        good=$((good + a)) bad=$((bad + b))
    done < <(sed -nE 's/^(test result: .* )?([0-9]+) passed[;,] ([0-9]+) failed.*$/\2 \3/p' "$log")
    if ((good + bad == 0)); then
        ((status == 0)) && good=1
    fi
    # A stage that failed without a failed check (a build error, say) must not look green.
    ((status != 0 && bad == 0)) && bad=1
    passed=$((passed + good)) failed=$((failed + bad))
}

run_stage() {
    local name=$1 log=$logs/$1.log status=0 began=$SECONDS next=60
    say "${bold}== $name${plain}"
    # There before anybody reads it.
    : >"$log"
    "stage_$name" </dev/null >"$log" 2>&1 &
    child=$!
    if [[ $tells == *" $name "* ]]; then
        tail -n +1 -f --pid="$child" "$log" &
    fi
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if [[ $tells != *" $name "* ]] && ((SECONDS - began >= next)); then
            say "   ${dim}$((SECONDS - began)) s: $(tail -n 1 "$log" | cut -c 1-90)${plain}"
            next=$((next + 60))
        fi
    done
    wait "$child" || status=$?
    child=
    # The tail of the lab's log, if there is one, ends with it.
    wait
    times+=("$((SECONDS - began)) $name")
    # What was left out must not look tested, and what scripts/deny.sh warns of not look clean: said here as well, and not in the log alone.
    [[ $tells == *" $name "* ]] || sed -nE 's/^(skipped |warning\[)/   &/p' "$log"
    if [[ $may_skip == *" $name "* ]] && ((status == skip)); then
        skipped+=("$name")
        say "   ${dim}skipped: what it needs cannot be installed here; it does not count as passed${plain}"
        return
    fi
    count "$log" "$status"
    if ((status == 0)); then
        say "   ${green}ok${plain}, $((SECONDS - began)) s"
    else
        broken+=("$name")
        [[ $tells == *" $name "* ]] || tail -n 60 "$log"
        # What Rust's tests failed of is far above the last lines, as the tests of other crates come after it.
        grep -A 2 -m 20 'panicked at' "$log" || true
        say "   ${red}FAILED${plain} (exit $status) after $((SECONDS - began)) s; full output: ${log#"$root"/}"
        say "   to repeat this stage: scripts/test.sh --only $name"
    fi
}

for name in "${chosen[@]}"; do
    run_stage "$name"
done

say
printf '%s\n' "${times[@]}" | sort -rn | while read -r seconds name; do printf '%6d s  %s\n' "$seconds" "$name"; done
say "took $((SECONDS / 60)) min $((SECONDS % 60)) s; stages skipped: ${skipped[*]:-none}; stages that failed: ${broken[*]:-none}"
say "$passed passed, $failed failed"
((failed == 0))
