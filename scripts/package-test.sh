#!/usr/bin/env bash
# Installs the Debian package on a bare Debian 12, upgrades and removes it. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/package-test.sh [--binary FILE]

Makes the Debian package (scripts/package.sh), checks it with lintian, and installs it on a bare Debian 12 in a folder
that debootstrap makes. There
  * the package's own scripts run
  * "wireglass init" writes a configuration for two veth ports
  * the unit's commands start the engine between them, and a ping passes
  * the package is upgraded, removed and purged
systemd does not run there; it only verifies the unit. Needs root.

  --binary FILE  package this engine, built with DPDK (default: a release build, made here)
  --help         this text

Prints one line for each check; the last line is "N passed, M failed". Files stay under target/deb, so a second run is
short. Exit status 0 if nothing failed, 77 if Debian's packages cannot be downloaded.
EOF
}

read_binary "$@"
build=(${binary:+--binary "$binary"})

# What scripts/test.sh takes for "skipped".
skip=77
need_root
"$root/scripts/setup.sh" --package --quiet || exit "$skip"
cd "$root"
folder=$root/target/deb
mkdir -p "$folder/archives/partial"
work=$(mktemp -d)
box=$work/debian
# Namespaces: clients, the engine's, servers. Named so that two runs do not meet.
clients=wg-deb-$$-c middle=wg-deb-$$-m servers=wg-deb-$$-s
clean_up() {
    local each
    for each in "$clients" "$middle" "$servers"; do
        ip netns pids "$each" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
        ip netns del "$each" 2>/dev/null || true
    done
    rm -rf "$work" "/var/run/dpdk/$middle"
}
trap clean_up EXIT
passed=0 failed=0

# In the folder's Debian, in a network namespace ("" is this machine's); mounts are gone with the command.
in_box() {
    local namespace=$1 enter=(unshare --mount)
    shift
    [[ -z $namespace ]] || enter=(ip netns exec "$namespace")
    # shellcheck disable=SC2016 # that shell's own
    "${enter[@]}" bash -euc '
        box=$1 archives=$2
        shift 2
        mount --make-rprivate /
        mount -t proc proc "$box/proc"
        mount -t sysfs sysfs "$box/sys"
        mount --rbind /dev "$box/dev"
        mount --bind "$archives" "$box/var/cache/apt/archives"
        exec chroot "$box" "$@"' - "$box" "$folder/archives" "$@" </dev/null
}
in_shell() { in_box "$1" sh -euc "$2"; }
apt() { in_box "" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"; }

make_debian "$folder/debian" || exit
say "making the package"
"$root/scripts/package.sh" "${build[@]}" >"$work/package.log" 2>&1 || {
    tail -n 20 "$work/package.log"
    die "the package cannot be made"
}
package=$(tail -n 1 "$work/package.log")
# The next revision has the same files.
dpkg-deb -R "$package" "$work/next"
sed -i 's/^Version: .*/&.next/' "$work/next/DEBIAN/control"
dpkg-deb -Zgzip -z1 --root-owner-group --build "$work/next" "$work/next.deb" >/dev/null
rm -rf "$work/next"
cp -a --reflink=auto "$folder/debian" "$box"
cp "$package" "$box/wireglass.deb"
cp "$work/next.deb" "$box/wireglass-next.deb"
cp /etc/resolv.conf "$box/etc/resolv.conf"
# What this machine's own apt has been told: where its packages are, and through what.
cp -a /etc/apt/sources.list* /etc/apt/apt.conf.d "$box/etc/apt/"
rm -f "$box"/etc/apt/apt.conf.d/docker-clean "$box"/etc/apt/sources.list.d/wireglass-backports.sources
if ! apt update >"$work/update" 2>&1; then
    tail -n 3 "$work/update"
    say "skipped: Debian's packages cannot be fetched here"
    exit "$skip"
fi

# Tags that are known, each with its reason, in deploy/debian/lintian.
is_lintian_clean() {
    grep -vE '^(#|$)' deploy/debian/lintian | cut -d ' ' -f 1 >"$work/known"
    lintian --allow-root --no-cfg --fail-on error,warning --suppress-tags-from-file "$work/known" "$package"
}

# The drivers that setup.sh installs for a machine of any kind, and no others of DPDK's sixty.
depends_on_what_setup_installs() {
    dpkg-deb -f "$package" Depends | grep -oE 'librte-[a-z0-9-]+23' | sort -u >"$work/have"
    sed -n '/^runtime=(/,/)/p' scripts/setup.sh | grep -oE 'librte-[a-z0-9-]+23' | sort -u >"$work/wanted"
    comm -13 "$work/have" "$work/wanted" | tee "$work/missing"
    [[ ! -s $work/missing ]]
}

# shellcheck disable=SC2016 # the box's shell
is_installed() {
    apt install -y --no-install-recommends /wireglass.deb logrotate
    in_shell "" '
        wireglass --version
        getent passwd wireglass
        getent group wireglass
        # Its script does so where systemd runs, and each boot does.
        systemd-tmpfiles --create wireglass.conf
        test "$(stat -c %a:%U /var/log/wireglass)" = 750:root
        test -s /usr/share/man/man1/wireglass.1.gz && test -s /usr/share/man/man1/wireglass-check.1.gz
        test -s /usr/share/bash-completion/completions/wireglass
        test -s /usr/share/zsh/vendor-completions/_wireglass
        test -s /usr/share/fish/vendor_completions.d/wireglass.fish
        logrotate --debug /etc/logrotate.d/wireglass
        /usr/share/wireglass/scripts/nic.sh --help >/dev/null'
}

does_nothing_yet() {
    local status=0
    [[ $(in_box "" systemctl is-enabled wireglass 2>/dev/null) == disabled ]]
    in_box "" wireglass check -c /etc/wireglass/wireglass.toml || status=$?
    ((status == 2))
}

# Of other units of Debian it may think what it likes.
units_are_valid() {
    in_box "" systemd-analyze verify --man=no wireglass.service wireglass-intermediates.timer 2>&1 | tee "$work/verified"
    ! grep wireglass "$work/verified"
}

make_network() {
    local each
    for each in "$clients" "$middle" "$servers"; do
        ip netns add "$each"
        ip -n "$each" link set lo up
    done
    ip -n "$middle" link add inside type veth peer name lan netns "$clients"
    ip -n "$middle" link add outside type veth peer name wan netns "$servers"
    ip -n "$clients" addr add 192.0.2.1/24 dev lan
    ip -n "$servers" addr add 192.0.2.2/24 dev wan
    ip -n "$clients" link set lan up
    ip -n "$servers" link set wan up
    ip -n "$middle" link set inside up
    ip -n "$middle" link set outside up
}

# shellcheck disable=SC2016 # the box's shell
is_configured() {
    make_network
    in_box "$middle" wireglass init --yes -c /etc/wireglass/wireglass.toml
    in_shell "$middle" '
        grep -q "af_packet:inside" /etc/wireglass/wireglass.toml
        wireglass check --strict -c /etc/wireglass/wireglass.toml
        cp /etc/wireglass/wireglass.toml /before
        if wireglass init --yes -c /etc/wireglass/wireglass.toml; then exit 1; fi
        cmp /before /etc/wireglass/wireglass.toml'
}

# The unit's own commands, as its service manager would run them; a ping passes only where both ports work.
# shellcheck disable=SC2016 # the box's shell
is_started() {
    local engine status=0 tries
    if ip netns exec "$clients" ping -c 1 -W 1 192.0.2.2; then return 1; fi
    in_shell "$middle" 'sed -n "s/^ExecStartPre=+*//p" /lib/systemd/system/wireglass.service | sh -eu'
    in_shell "$middle" 'exec $(sed -n "s/^ExecStart=//p" /lib/systemd/system/wireglass.service)' >"$work/engine" 2>&1 &
    engine=$!
    for ((tries = 0; tries < 150; tries++)); do
        ! grep -q 'wireglass: running' "$work/engine" || break
        kill -0 "$engine"
        sleep 0.2
    done
    ip netns exec "$clients" ping -c 3 -i 0.2 -W 5 192.0.2.2 || status=$?
    in_box "$middle" wireglass health || status=$?
    in_box "$middle" wireglass flows || status=$?
    # Nothing else runs there.
    ip netns pids "$middle" | xargs -r kill
    wait "$engine" || status=$?
    cat "$work/engine"
    grep -q 'mbufs balanced' "$work/engine"
    [[ -s $box/var/log/wireglass/eve.json ]]
    return "$status"
}

# What an operator has made is left alone, and nothing is asked.
# shellcheck disable=SC2016 # the box's shell
is_upgraded() {
    in_shell "" 'cat /etc/wireglass/ca/trusted.key >/key'
    apt install -y --no-install-recommends /wireglass-next.deb
    in_shell "" '
        dpkg-query -W -f "\${Version}\n" wireglass | grep -qx -- ".*\.next"
        cmp /before /etc/wireglass/wireglass.toml
        cmp /key /etc/wireglass/ca/trusted.key
        wireglass check -c /etc/wireglass/wireglass.toml'
}

is_removed() {
    apt remove -y wireglass
    in_shell "" '
        if test -e /usr/bin/wireglass; then exit 1; fi
        cmp /before /etc/wireglass/wireglass.toml
        cmp /key /etc/wireglass/ca/trusted.key'
}

# The CA alone stays, as clients may trust it, and a word is said about it.
# shellcheck disable=SC2016 # the box's shell
is_purged() {
    apt purge -y wireglass | tee "$work/purged"
    grep 'the CA in /etc/wireglass/ca is kept' "$work/purged"
    in_shell "" '
        for gone in /etc/wireglass/wireglass.toml /etc/logrotate.d/wireglass /var/log/wireglass /var/lib/wireglass; do
            if test -e $gone; then echo "$gone is there"; exit 1; fi
        done
        cmp /key /etc/wireglass/ca/trusted.key'
}

check "lintian finds nothing but what deploy/debian/lintian explains" is_lintian_clean
check "it depends on the drivers that setup.sh installs" depends_on_what_setup_installs
check "it is installed: command, user, folders, manual, completions" is_installed
check "and does nothing yet: not enabled, and no configuration" does_nothing_yet
check "systemd finds its units in order" units_are_valid
check "wireglass init configures it for the two ports that are free, once" is_configured
check "the unit's commands start it, a ping passes, and it ends in order" is_started
check "an upgrade leaves configuration and keys alone" is_upgraded
check "removed: the command is gone, configuration and keys are not" is_removed
check "purged: all but the CA is gone" is_purged
say "$passed passed, $failed failed"
((failed == 0))
