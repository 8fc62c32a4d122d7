#!/usr/bin/env bash
# Installs what building, testing and the lab need. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/setup.sh [--build-only | --demo | --runtime-only | --all | --peers | --vm | --image | --deny | --package | --docs | --mutants] [--quiet]

Installs what wireglass needs from Debian 12, and checks that cargo is there. Needs root. If nothing is missing, it
changes nothing and does not call apt.

  scripts/setup.sh --build-only      then: cargo build --release --locked -p wireglass --features dpdk

  --build-only    to compile: C compiler, libdpdk-dev, libclang
  --demo          for scripts/demo.sh: to compile, and curl, nginx, openssl
  --runtime-only  to run a finished engine: DPDK's libraries and port drivers
  --all           to build, run, demo and test (default): some sixty packages, with servers, browsers and Java, whose
                  services are neither started nor enabled; and a pinned aioquic from PyPI, in Cargo's folder
                  (wireglass-tools/aioquic)
  --peers         for scripts/bench-peers.sh: the proxies that it compares with, and its load generators. Their system
                  services are neither started nor enabled
  --vm            for scripts/vm-test.sh: QEMU, and Debian's kernel for the guest, unpacked into target/vm/kernel, not
                  installed
  --image         for scripts/image-test.sh: what builds a container image without a registry
  --deny          for scripts/deny.sh: a pinned cargo-deny, built from crates.io into Cargo's folder
                  (wireglass-tools/bin); takes minutes the first time
  --package       for scripts/package.sh and scripts/package-test.sh: to compile, cargo-deb, built the same way, and
                  Debian's tools
  --docs          for scripts/docs.sh: a pinned mdBook, built the same way
  --mutants       for scripts/mutants.sh: a pinned cargo-mutants, built the same way
  --quiet         print nothing if nothing is missing
  --help          this text
EOF
}

# libdpdk-dev brings every port driver (librte-net-*) along; libclang-dev is what bindgen reads DPDK's headers with, protobuf-compiler and
# libprotobuf-dev are what etcd's client is built with.
build=(gcc libc6-dev make pkg-config libdpdk-dev libclang-dev protobuf-compiler libprotobuf-dev ca-certificates)
# Both ends of scripts/demo.sh, and what connects them.
demo=(nginx-light curl openssl iproute2 ethtool procps python3)
# Servers and clients that begin in plain text. They bring services of the system, which are neither started nor enabled.
starttls=(exim4-daemon-light dovecot-imapd dovecot-pop3d postgresql postgresql-client slapd ldap-utils gnutls-bin)
# An ICAP server, and the scanner behind it. Its signatures are the lab's own: none are downloaded.
icap=(c-icap libc-icap-mod-virus-scan clamav-daemon)
# An HSM in software, for the CAs' keys, and the tool that fills it.
hsm=(softhsm2 opensc)
# What engines share lies there. Its service is neither started nor enabled.
fleet=(etcd-server etcd-client)
# testpmd (dpdk-dev) is the lab's plain wire.
# valgrind counts instructions for the bench. prometheus brings promtool; its service is neither started nor enabled.
lab=("${demo[@]}" dpdk-dev g++ iputils-ping tcpdump util-linux kmod nftables python3-cryptography python3-websockets python3-grpcio python3-yaml nghttp2-client nghttp2-server openjdk-17-jdk-headless wget chromium libnss3-tools apache2-bin python3-venv shellcheck lua5.4 systemd valgrind tshark prometheus "${starttls[@]}" "${icap[@]}" "${hsm[@]}" "${fleet[@]}")
# What listens at a mirror. Suricata is in Debian's backports only, and wants a newer libhtp2 than Debian 12 has.
backports=(suricata libhtp2)
# The engine links the first line and loads the drivers of the second by itself: virtual ports, Intel, virtio,
# VMware, Amazon, Mellanox.
runtime=(ca-certificates
    librte-eal23 librte-ethdev23 librte-mbuf23 librte-mempool23 librte-mempool-ring23 librte-mempool-stack23 librte-bus-pci23 librte-bus-vdev23
    librte-net-af-packet23 librte-net-af-xdp23 librte-net-tap23 librte-net-memif23 librte-net-ring23 librte-net-e1000-23 librte-net-ixgbe23
    librte-net-i40e23 librte-net-iavf23 librte-net-ice23 librte-net-igc23 librte-net-virtio23 librte-net-vhost23 librte-net-vmxnet3-23
    librte-net-ena23 librte-net-mlx5-23)
# wrk and ab (apache2-utils) are the load.
peers=(haproxy nginx-light sslsplit squid-openssl mitmproxy wrk apache2-utils)
services=(nginx etcd haproxy squid exim4 dovecot postgresql slapd suricata c-icap clamav-daemon clamav-freshclam prometheus)
# depmod and modprobe (kmod) are for the guest's kernel.
vm=(qemu-system-x86 busybox-static kmod)
image=(buildah crun debootstrap)
# The linker, git for the database of advisories.
deny=(gcc libc6-dev ca-certificates git)
# dpkg-shlibdeps finds out which packages the engine's libraries are of, strip is of binutils. lintian judges the package, debootstrap makes
# the machine that it is installed on.
package=("${build[@]}" liblzma-dev dpkg-dev binutils lintian debootstrap iproute2 iputils-ping util-linux)
docs=(gcc libc6-dev ca-certificates python3)

what=all quiet=
for word in "$@"; do
    case $word in
    --build-only) what=build ;;
    --demo) what=demo ;;
    --runtime-only) what=runtime ;;
    --all) what=all ;;
    --peers) what=peers ;;
    --vm) what=vm ;;
    --image) what=image ;;
    --deny) what=deny ;;
    --package) what=package ;;
    --docs) what=docs ;;
    --mutants) what=mutants ;;
    --quiet) quiet=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) usage_error "unknown option $word" ;;
    esac
done

case $what in
build) wanted=("${build[@]}") ;;
demo) wanted=("${build[@]}" "${demo[@]}") ;;
runtime) wanted=("${runtime[@]}") ;;
peers) wanted=("${peers[@]}") ;;
all) wanted=("${build[@]}" "${lab[@]}" "${backports[@]}") ;;
vm) wanted=("${vm[@]}") ;;
image) wanted=("${image[@]}") ;;
deny) wanted=("${deny[@]}") ;;
package) wanted=("${package[@]}") ;;
docs) wanted=("${docs[@]}") ;;
mutants) wanted=("${build[@]}") ;;
esac

# Sets `absent` to the wanted packages that are not installed.
find_absent() {
    local package status
    absent=()
    for package in "${wanted[@]}"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
        [[ $status == installed ]] || absent+=("$package")
    done
}

# Keeps the services of the packages that are about to be installed from starting, unless something does so already.
forbid_starts() {
    policy=/usr/sbin/policy-rc.d
    [[ ! -e $policy ]] || return 0
    trap 'rm -f "$policy"' EXIT
    # 101: "action forbidden by policy".
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# What was not there before must not start with the machine either.
disable_new_services() {
    local service
    command -v systemctl >/dev/null || return 0
    for service in "${services[@]}"; do
        if [[ " ${installed[*]} " == *" $service"* ]]; then
            systemctl disable --quiet "$service" >/dev/null 2>&1 || say "could not disable the service $service"
        fi
    done
}

# Packages that are nowhere else come from backports, and no others: apt takes a release of that kind only where it is
# told so. A name with its release ("/bookworm-backports") does not bring what the package depends on from there.
name_backports() {
    local source=/etc/apt/sources.list.d/wireglass-backports.sources
    [[ -z $(apt-cache policy | sed -n '/n=bookworm-backports/p') ]] || return 0
    printf '%s\n' 'Types: deb' 'URIs: http://deb.debian.org/debian' 'Suites: bookworm-backports' 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$source"
    said=$(apt-get update -q 2>&1) || die "apt-get update failed:"$'\n'"$said"
}

command -v apt-get >/dev/null || die "this script knows Debian's apt only; the packages are: ${wanted[*]}"
find_absent
if ((${#absent[@]})); then
    need_root
    say "installing ${#absent[@]} of ${#wanted[@]} packages: ${absent[*]}"
    export DEBIAN_FRONTEND=noninteractive
    installed=("${absent[@]}")
    [[ $what != demo && $what != peers && $what != all ]] || forbid_starts
    install=(apt-get install -y -q --no-install-recommends)
    # All of them if one is absent: what is installed may be Debian 12's.
    for package in "${backports[@]}"; do
        [[ " ${absent[*]} " == *" $package "* ]] || continue
        name_backports
        install+=("${backports[@]/%//bookworm-backports}")
        break
    done
    # QEMU's packages are of one version, and a machine may have one of them from backports.
    [[ $what != vm || $(dpkg-query -W -f '${Version}' qemu-utils 2>/dev/null) != *~bpo12* ]] || install+=(-t bookworm-backports)
    # The index that is here may be old or empty: then the first try fails and is worth a second one.
    if ! said=$("${install[@]}" "${absent[@]}" 2>&1); then
        say "refreshing the package index"
        said=$(apt-get update -q 2>&1) || die "apt-get update failed:"$'\n'"$said"
        said=$("${install[@]}" "${absent[@]}" 2>&1) || die "apt-get install failed:"$'\n'"$said"
    fi
    find_absent
    ((${#absent[@]} == 0)) || die "still missing after the installation: ${absent[*]}"
    [[ $what != demo && $what != peers && $what != all ]] || disable_new_services
    say "installed"
elif [[ -z $quiet ]]; then
    say "all ${#wanted[@]} packages are installed"
fi

# Unpacks the newest kernel of this Debian, the flavour with 9p and e1000e, with an index of its modules.
get_kernel() {
    local folder=$root/target/vm package fresh
    [[ ! -e $folder/kernel ]] || return 0
    kernel_package() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^  Depends: //p'; }
    package=$(kernel_package)
    if [[ -z $package ]]; then
        said=$(apt-get update -q 2>&1) || die "apt-get update failed:"$'\n'"$said"
        package=$(kernel_package)
    fi
    [[ -n $package ]] || die "apt knows no linux-image-amd64"
    say "unpacking $package for the virtual machine"
    fresh=$folder/kernel.new
    rm -rf "$fresh"
    mkdir -p "$fresh"
    if ! said=$(cd "$folder" && apt-get download -q "$package" 2>&1); then
        # As above: the index may name a version that is gone.
        apt-get update -q >/dev/null 2>&1 || true
        package=$(kernel_package)
        said=$(cd "$folder" && apt-get download -q "$package" 2>&1) || die "$package could not be downloaded:"$'\n'"$said"
    fi
    dpkg -x "$folder/$package"_*.deb "$fresh"
    rm -- "$folder/$package"_*.deb
    depmod -b "$fresh" "${package#linux-image-}"
    mv -- "$fresh" "$folder/kernel"
}

# Without optimisation: it runs for seconds, and its own release profile is one unit with fat LTO.
get_cargo_tool() {
    local tool=$1 pinned=$2
    shift 2
    # cargo-deb says its version alone, and cargo-mutants wants to be called as Cargo would call it.
    [[ $("$tools/bin/$tool" "$@" --version 2>/dev/null) != *"$pinned" ]] || return 0
    say "building $tool $pinned from crates.io"
    said=$(CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --force --profile dev --root "$tools" \
        --target-dir "$root/target/$tool" "$tool@$pinned" 2>&1) || die "$tool could not be built:"$'\n'"$said"
    rm -rf "${root:?}/target/$tool"
}

# With its search, and without the server and the watcher that authors may like. A minute of one core, as above.
get_mdbook() {
    local pinned=0.5.4
    [[ $("$tools/bin/mdbook" --version 2>/dev/null) != "mdbook v$pinned" ]] || return 0
    say "building mdBook $pinned from crates.io"
    said=$(CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --force --profile dev --root "$tools" \
        --target-dir "$root/target/mdbook" --no-default-features --features search "mdbook@$pinned" 2>&1) ||
        die "mdBook could not be built:"$'\n'"$said"
    rm -rf "$root/target/mdbook"
}

# An honest QUIC for the lab: Debian has none.
get_aioquic() {
    local pinned=1.7.2 folder=$tools/aioquic
    [[ $("$folder/bin/python" -c 'import aioquic; print(aioquic.__version__)' 2>/dev/null) != "$pinned" ]] || return 0
    say "installing aioquic $pinned from PyPI"
    rm -rf "$folder"
    said=$(/usr/bin/python3 -m venv "$folder" 2>&1 && "$folder/bin/pip" install -q "aioquic==$pinned" 2>&1) ||
        die "aioquic could not be installed:"$'\n'"$said"
}

[[ $what != all ]] || get_aioquic
[[ $what != vm ]] || get_kernel
[[ $what == runtime || $what == peers || $what == vm || $what == image ]] || need_cargo
[[ $what != deny ]] || get_cargo_tool cargo-deny 0.20.2
[[ $what != package ]] || get_cargo_tool cargo-deb 3.8.0
[[ $what != docs ]] || get_mdbook
[[ $what != mutants ]] || get_cargo_tool cargo-mutants 27.1.0 mutants
