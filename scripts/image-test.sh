#!/usr/bin/env bash
# Builds the container image without a registry, and tries it. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/image-test.sh [--binary FILE] [--full] [--export FILE]

Builds the container image of the Dockerfile, with buildah, on a Debian that debootstrap makes (scripts/setup.sh --image
installs both). Then it runs the programs of the image as the image's user, who is not root. Needs root.

  --binary FILE  put this engine into the image (default: a release build, made here)
  --full         also run the Dockerfile's build stage, with this machine's Rust toolchain: many minutes
  --export FILE  save the image as an archive for "docker load"
  --help         this text

Prints one line for each check; the last line is "N passed, M failed". All files stay under target/image, so a second run
is short. Exit status 0 if nothing failed, 77 if the tools or Debian's packages cannot be downloaded.
EOF
}

binary='' full='' export=''
while (($#)); do
    case $1 in
    --binary | --export)
        [[ -n ${2:-} ]] || usage_error "$1 wants a file"
        if [[ $1 == --binary ]]; then binary=$(realpath -m -- "$2"); else export=$(realpath -m -- "$2"); fi
        shift
        ;;
    --full) full=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $1" ;;
    esac
    shift
done

# What scripts/test.sh takes for "skipped".
skip=77
need_root
"$root/scripts/setup.sh" --image --quiet || exit "$skip"
cd "$root"
if [[ -z $binary && -z $full ]]; then
    say "release build with DPDK ports"
    build_release
    binary=$root/target/release/wireglass
fi

folder=$root/target/image
mkdir -p "$folder"
box=(buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver vfs)
work=$(mktemp -d)
container=''
clean_up() {
    [[ -z $container ]] || "${box[@]}" rm "$container" >/dev/null || true
    # Layers without a name: those of earlier builds.
    "${box[@]}" rmi --prune >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT
passed=0 failed=0

# In place of debian:bookworm-slim, which only a registry has.
make_base() {
    local mounted from
    "${box[@]}" inspect --type image wireglass-debian >/dev/null 2>&1 && return
    make_debian "$folder/debian" || exit
    from=$("${box[@]}" from scratch)
    mounted=$("${box[@]}" mount "$from")
    cp -a "$folder/debian/." "$mounted/"
    "${box[@]}" umount "$from" >/dev/null
    "${box[@]}" commit -q --rm "$from" wireglass-debian >/dev/null
    rm -rf "$folder/debian"
}

# In place of rust:slim: that Debian with the toolchain of this machine.
make_rust_base() {
    local mounted from
    "${box[@]}" inspect --type image wireglass-rust >/dev/null 2>&1 && return
    need_cargo
    from=$("${box[@]}" from wireglass-debian)
    mounted=$("${box[@]}" mount "$from")
    cp -a "$(rustc --print sysroot)/." "$mounted/usr/local/"
    # Whom this machine trusts besides: it may be behind a device that inspects TLS.
    mkdir -p "$mounted/usr/local/share/ca-certificates"
    cp -a /usr/local/share/ca-certificates/. "$mounted/usr/local/share/ca-certificates/"
    "${box[@]}" umount "$from" >/dev/null
    "${box[@]}" commit -q --rm "$from" wireglass-rust >/dev/null
}

build_image() {
    local options=(--isolation chroot --format docker --build-arg RUN_BASE=localhost/wireglass-debian -t wireglass)
    if [[ -n $full ]]; then
        make_rust_base
        options+=(--build-arg BUILD_BASE=localhost/wireglass-rust)
    else
        # A context of that name stands for the build stage.
        mkdir -p "$work/build/build/target/release"
        cp "$binary" "$work/build/build/target/release/wireglass"
        strip "$work/build/build/target/release/wireglass"
        options+=(--build-context "build=$work/build" --build-arg BUILD_BASE=localhost/wireglass-debian)
    fi
    say "building the image"
    "${box[@]}" bud "${options[@]}" . >"$work/build.log" 2>&1 || {
        tail -n 20 "$work/build.log"
        # Debian's packages could not be fetched: nothing of this Dockerfile's.
        grep -qE 'Temporary failure resolving|Could not connect' "$work/build.log" && exit "$skip"
        die "the image does not build"
    }
}

# As the image's user and in its folder, with kernel and network of this machine.
in_image() { "${box[@]}" run --isolation chroot "$container" -- "$@"; }
in_shell() { in_image sh -euc "$1"; }
# Whether the image is set up so; JSON without spaces.
configured() { "${box[@]}" inspect --type image wireglass | tr -d ' \n' | grep -qF -- "$1"; }

is_slim() {
    in_shell '! command -v gcc && ! command -v cargo && ! ls /usr/include/dpdk && ! ls /tmp/scripts'
}

# shellcheck disable=SC2016 # dpkg's format
# Its port drivers are those that setup.sh names, and no others of DPDK's sixty.
drivers_are_named() {
    in_shell 'dpkg-query -W -f "\${Package}\n" "librte-net-*"' | sort >"$work/have"
    grep -oE 'librte-net-[a-z0-9-]+23' scripts/setup.sh | sort >"$work/wanted"
    diff "$work/wanted" "$work/have"
}

# shellcheck disable=SC2016 # the image's shell
runs() {
    in_shell '
        cd /tmp && rm -rf try && mkdir try && cd try
        wireglass ca init --dir ca
        cat >wire.toml <<END
[dpdk]
vdev = ["net_ring0", "net_ring1"]
eal = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=error"]
[[wire]]
name = "lan"
inside = "net_ring0"
outside = "net_ring1"
[workers]
cores = [0]
[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }
[policy]
default = "decrypt"
[log]
eve = "/var/log/wireglass/eve.json"
[metrics]
listen = "127.0.0.1:19464"
END
        wireglass check -c wire.toml
        if wireglass health 127.0.0.1:19464; then exit 1; fi
        wireglass run -c wire.toml &
        for _ in $(seq 100); do
            ! wireglass health 127.0.0.1:19464 >/dev/null 2>&1 || break
            sleep 0.2
        done
        wireglass health 127.0.0.1:19464
        wireglass flows
        kill $!
        wait $!
        test -s /var/log/wireglass/eve.json'
}

make_base
build_image
container=$("${box[@]}" from wireglass)
check "wireglass --version" in_image wireglass --version
# shellcheck disable=SC2016 # the image's shell
check "the user is not root" in_shell 'test "$(id -un)" = wireglass && test "$(id -u)" = 9464'
check "the health check is the engine's own" configured '"Test":["CMD","wireglass","health"]'
check "it starts the engine on /etc/wireglass/wireglass.toml" configured \
    '"Cmd":["run","-c","/etc/wireglass/wireglass.toml"]'
check "no compiler, no headers, no scripts" is_slim
check "the port drivers of setup.sh, and no others" drivers_are_named
check "ca init, check, run between two ports, health, flows, a clean stop" runs
say "${dim}its files take $(in_shell 'du -sxm / 2>/dev/null | cut -f1' || true) MB${plain}"
[[ -z $export ]] || "${box[@]}" push -q wireglass "docker-archive:$export:wireglass:latest"
say "$passed passed, $failed failed"
((failed == 0))
