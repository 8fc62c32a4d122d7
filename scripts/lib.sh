# shellcheck shell=bash
# What the scripts share: places, words on the terminal, and the preconditions. Sourced, never run.

# For the scripts that source this file.
# shellcheck disable=SC2034
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Cargo's tools of a pinned version: in Cargo's own folder, so that a fresh clone finds them built, and apart from what its user has installed.
# shellcheck disable=SC2034
tools=${CARGO_HOME:-~/.cargo}/wireglass-tools

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

say() { printf '%s\n' "$*"; }

die() {
    printf '%s%s: %s%s\n' "$red" "$(basename "$0")" "$*" "$plain" >&2
    exit 1
}

usage_error() {
    printf '%s: %s (--help tells more)\n' "$(basename "$0")" "$*" >&2
    exit 2
}

need_root() {
    [[ $(id -u) -eq 0 ]] || die "network namespaces and packages need root; run it again with sudo"
}

# rustup puts cargo where a non-login shell does not look.
need_cargo() {
    if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null ||
        die "no cargo on PATH: install Rust (https://rustup.rs), open a new shell, and run this again"
}

# The arguments of a script that knows `--binary FILE` and nothing else but `--help`: sets `binary`, empty where none is named. `usage` is the
# caller's.
read_binary() {
    binary=''
    while (($#)); do
        case $1 in
        --binary)
            [[ -n ${2:-} ]] || usage_error "--binary wants a file"
            # shellcheck disable=SC2034
            binary=$(realpath -m -- "$2")
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
}

# Runs a module of scripts/lab in place of this shell, so that signals reach it and its clean-up.
# Debian's own Python: the one that apt's python3-websockets belongs to, whatever else is first on PATH.
exec_lab() {
    cd "$root" || exit
    export PYTHONPATH=$root/scripts PYTHONDONTWRITEBYTECODE=1
    exec /usr/bin/python3 -m "$@"
}

build_release() {
    need_cargo
    (cd "$root" && cargo build --release --locked -p wireglass --features dpdk,fleet)
}

# Makes a bare Debian 12 in a folder, unless it is there. $work is the caller's. 77, what scripts/test.sh takes for "skipped": its packages cannot be
# fetched.
# shellcheck disable=SC2154
make_debian() {
    local folder=$1
    [[ ! -e $folder ]] || return 0
    say "making a bare Debian 12"
    rm -rf "$folder.new"
    if ! debootstrap --variant=minbase bookworm "$folder.new" >"$work/said" 2>&1; then
        tail -n 3 "$work/said"
        rm -rf "$folder.new"
        return 77
    fi
    rm -rf "$folder.new"/var/cache/apt/archives/*.deb "$folder.new"/var/lib/apt/lists/*
    mv "$folder.new" "$folder"
}

# What the labs need: root, packages, and an engine, unless the arguments say where one is.
need_engine() {
    need_root
    "$root/scripts/setup.sh" --quiet
    if [[ " $* " != *" --binary"* ]]; then
        say "release build with DPDK ports"
        build_release
    fi
}

# Runs "check NAME COMMAND...", and prints a line. Counts in `passed` and `failed`; what the command says is in $work/said, and shown
# if it fails. $work is the caller's.
# shellcheck disable=SC2154
check() {
    local name=$1 status
    shift
    # Not behind "||": there the first failed command of several would not count.
    set +e
    (
        set -e
        "$@"
    ) >"$work/said" 2>&1
    status=$?
    set -e
    if ((status == 0)); then
        passed=$((passed + 1))
        say "${green}ok${plain}      $name"
    else
        failed=$((failed + 1))
        say "${red}FAILED${plain}  $name (exit $status)"
        tail -n 15 "$work/said"
    fi
}
