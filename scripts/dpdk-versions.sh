#!/usr/bin/env bash
# Compiles the bindings against the headers of each supported DPDK. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/dpdk-versions.sh [--suite SUITE]... [--prefix DIR]...

Compiles dpdk-sys (bindings and C shim), dpdk and its tests with several releases of DPDK, and looks up every function
that they call in that release's libraries. The installed DPDK comes first. Nothing is installed: Debian's libdpdk-dev
of each suite is unpacked once, into target/dpdk/SUITE.

  --suite SUITE  libdpdk-dev of this Debian suite; repeatable (default: trixie, which has 24.11)
  --prefix DIR   a DPDK that "meson install" has put into DIR; repeatable. Use it for 23.11, which no Debian suite has any
                 more. Leaves out Debian's suites, unless --suite names them
  --help         this text

Prints one line for each release; the last line is "N passed, M failed". A suite whose package cannot be downloaded is
skipped and named. Exit status 0 if nothing failed.
EOF
}

suites=() prefixes=()
while (($#)); do
    case $1 in
    --suite | --prefix)
        [[ -n ${2:-} ]] || usage_error "$1 wants a value"
        if [[ $1 == --suite ]]; then suites+=("$2"); else prefixes+=("$2"); fi
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
done
((${#suites[@]} + ${#prefixes[@]})) || suites=(trixie)

need_cargo
cd "$root"
folder=$root/target/dpdk
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

fail() {
    failed=$((failed + 1))
    say "${red}FAILED${plain}  $1: $2"
}

# Where this machine gets its Debian from; other suites are at the same place.
debian_mirror() {
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -nE 's/^Debian [a-z]+ //p' | head -n 1
}

# Unpacks libdpdk-dev of a suite, through an apt that knows this suite alone and has a state of its own.
unpack() {
    local suite=$1 to=$folder/$1 state=$work/$1 mirror apt
    [[ ! -e $to/usr ]] || return 0
    command -v apt-get >/dev/null || return 1
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || return 1
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$state/sources"
    apt=(apt-get -q -o Dir::Etc::SourceList="$state/sources" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$state/lists"
        -o Dir::Cache="$state" -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2)
    (cd "$state" && "${apt[@]}" update && "${apt[@]}" download libdpdk-dev) >"$work/apt.log" 2>&1 || return 1
    rm -rf "$to.new"
    mkdir "$to.new"
    dpkg -x "$state"/libdpdk-dev_*.deb "$to.new"
    # The package believes to be in /usr.
    sed -i "s|^prefix=.*|prefix=$to/usr|" "$to.new"/usr/lib/*/pkgconfig/*.pc
    mv -- "$to.new" "$to"
}

# The functions of DPDK that bindings ($1) and shim ($2) call and no library in $3 has.
missing_functions() {
    {
        sed -nE 's/^ *pub fn (rte_[a-z0-9_]+).*/\1/p' "$1"
        nm -u "$2" | sed -nE 's/^ *U ((rte_|per_lcore_).*)/\1/p'
    } | sort -u >"$work/called"
    nm -g --defined-only "$3"/librte_*.a 2>/dev/null | sed -nE 's/^[0-9a-f]+ [A-Z] (.*)/\1/p' | sort -u >"$work/offered"
    comm -23 "$work/called" "$work/offered"
}

# A line for the release that pkg-config finds with PKG_CONFIG_PATH $2; $1 says where it is from.
check() {
    local from=$1 version out absent
    export PKG_CONFIG_PATH=$2
    if ! version=$(pkg-config --modversion libdpdk 2>"$work/said"); then
        fail "$from" "$(head -n 1 "$work/said")"
        return
    fi
    # Build tools need no optimisation here; a target of its own, so that no other build finds the wrong bindings.
    if ! cargo check --locked -p dpdk --tests --features ring --target-dir "$folder/build" \
        --config 'profile.dev.package."*".opt-level=0' --message-format=json-render-diagnostics >"$work/json" 2>"$work/said"; then
        fail "$version, $from" "does not compile"
        tail -n 30 "$work/said"
        return
    fi
    out=$(grep '"reason":"build-script-executed"' "$work/json" | grep -F "\"DPDK_SYS_VERSION\",\"$version\"" |
        sed -E 's/.*"out_dir":"([^"]*)".*/\1/') || true
    if [[ ! -e $out/bindings.rs ]]; then
        fail "$version, $from" "what cargo compiled was not this release"
        return
    fi
    absent=$(missing_functions "$out/bindings.rs" "$out/libdpdk_shim.a" "$(pkg-config --variable=libdir libdpdk)" | tr '\n' ' ')
    if [[ -n $absent ]]; then
        fail "$version, $from" "not in its libraries: $absent"
        return
    fi
    passed=$((passed + 1))
    say "${green}ok${plain}      $version, $from: bindings, shim and tests compile; its libraries have all $(wc -l <"$work/called") functions"
}

check installed "${PKG_CONFIG_PATH:-}"
for suite in "${suites[@]}"; do
    if unpack "$suite"; then
        check "Debian $suite" "$(echo "$folder/$suite"/usr/lib/*/pkgconfig)"
    else
        say "skipped Debian $suite: its libdpdk-dev cannot be fetched here"
        [[ ! -e $work/apt.log ]] || tail -n 1 "$work/apt.log"
    fi
done
for prefix in "${prefixes[@]}"; do
    found=$(find "$prefix" -name libdpdk.pc -printf '%h\n' -quit 2>/dev/null) || true
    check "$prefix" "${found:-$prefix}"
done
say "$passed passed, $failed failed"
((failed == 0))
