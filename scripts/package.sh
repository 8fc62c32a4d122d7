#!/usr/bin/env bash
# Makes the Debian package. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/package.sh [--binary FILE]

Makes the Debian package target/deb/wireglass_VERSION-1_ARCH.deb for this Debian, with cargo-deb (scripts/setup.sh
--package installs it). It contains the engine, which uses Debian's DPDK, the systemd unit, manual pages and completions;
engine/Cargo.toml lists its content.

  --binary FILE  package this engine, built with DPDK (default: a release build, made here)
  --help         this text

The last line is the path of the package. Next: apt-get install it, or test it with scripts/package-test.sh.
EOF
}

read_binary "$@"

need_cargo
"$root/scripts/setup.sh" --package --quiet
cd "$root"
if [[ -z $binary ]]; then
    build_release
    binary=$root/target/release/wireglass
fi
[[ -x $binary ]] || die "no engine at $binary"

folder=$root/target/deb
rm -rf "$folder"/{man,completions,systemd,stage,changelog}
mkdir -p "$folder/systemd" "$folder/stage/release"

# The example and what it needs are of the tests' build, so that the engine's own has neither clap_mangen nor clap_complete.
cargo build --locked --workspace --features wireglass/dpdk,wireglass/fleet --example manual
"$root/target/debug/examples/manual" "$folder"

for unit in deploy/systemd/*; do
    sed 's|/usr/local/bin/wireglass|/usr/bin/wireglass|; s|^# \(.*\) Install .*|# \1|' "$unit" >"$folder/systemd/${unit##*/}"
done

version=$(sed -nE 's/^version = "(.*)"$/\1/p' Cargo.toml)-1
maintainer=$(sed -nE 's/^maintainer = "(.*)"$/\1/p' engine/Cargo.toml)
# The same commit gives the same package.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
cat >"$folder/changelog" <<EOF
wireglass ($version) bookworm; urgency=medium

  * What has changed stands in CHANGELOG.md of the sources.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
EOF

# cargo-deb looks for what Cargo has built in Cargo's folder, by its profile.
install -m 755 "$binary" "$folder/stage/release/wireglass"
strip "$folder/stage/release/wireglass"
CARGO_TARGET_DIR=$folder/stage "$tools/bin/cargo-deb" --manifest-path engine/Cargo.toml --no-build --no-strip --no-dbgsym \
    --deb-revision 1 --output "$folder/"
rm -rf "$folder/stage"
