#!/usr/bin/env bash
# Checks what lies under deploy/: the systemd unit and the Kubernetes manifests. --help tells more.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<EOF
Usage: scripts/deploy-test.sh [--binary FILE]

Checks what lies under deploy/, without a cluster:

  the systemd unit          verified by systemd-analyze
  Prometheus' rules         tried by promtool
  the Grafana dashboard     read
  the Kubernetes manifests  validated against Kubernetes' own schemas (kubernetes-validate from PyPI, put into
                            target/deploy, not installed)
  the pod's start script    run with a made-up node; the engine checks the configuration that comes out

Prints one line for each check; the last line is "N passed, M failed". Exit status 0 if nothing failed.

  --binary FILE  engine that checks the configuration (default: target/release/wireglass, or target/debug/wireglass)
  --help         this text
EOF
}

read_binary "$@"

cd "$root"
for built in "$root/target/release/wireglass" "$root/target/debug/wireglass"; do
    [[ -n $binary || ! -x $built ]] || binary=$built
done
[[ -x $binary ]] || die "no engine: build one, or name it with --binary"
folder=$root/target/deploy
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

unit=deploy/systemd/wireglass.service
# The binary is where it is built, and not yet where the unit has it. A warning about the unit is a failure, too.
unit_is_valid() {
    sed "s|/usr/local/bin/wireglass|$binary|" "$unit" >"$work/wireglass.service"
    systemd-analyze verify --man=no "$work/wireglass.service" >"$work/verified" 2>&1 || { cat "$work/verified" && return 1; }
    ! grep -F "$work/wireglass.service" "$work/verified"
}
# The timer finds its service beside it.
timer_is_valid() {
    local name
    for name in service timer; do
        sed "s|/usr/local/bin/wireglass|$binary|" "deploy/systemd/wireglass-intermediates.$name" >"$work/wireglass-intermediates.$name"
    done
    systemd-analyze verify --man=no "$work/wireglass-intermediates.timer" "$work/wireglass-intermediates.service" >"$work/verified" 2>&1 ||
        { cat "$work/verified" && return 1; }
    ! grep -F "$work/wireglass-intermediates" "$work/verified"
}

# Below 3 of 10, which systemd calls OK.
unit_is_confined() { systemd-analyze security --offline=true --threshold=30 "$work/wireglass.service"; }
# A unit that runs as root with all capabilities must not pass.
threshold_is_awake() {
    mkdir -p "$work/loose"
    grep -vE '^(User|CapabilityBoundingSet|SystemCallFilter)=' "$work/wireglass.service" >"$work/loose/wireglass.service"
    ! systemd-analyze security --offline=true --threshold=30 "$work/loose/wireglass.service"
}

# It is killed later than it stops pinging, and only if it was promised pings.
unit_has_a_watchdog() { grep -qx 'Type=notify' "$unit" && grep -qE '^WatchdogSec=[1-9]' "$unit" && grep -qx 'RestartPreventExitStatus=2 4' "$unit"; }

pinned=1.37.0
validator=$folder/venv-$pinned
get_validator() {
    [[ ! -x $validator/bin/kubernetes-validate ]] || return 0
    rm -rf "$validator"
    /usr/bin/python3 -m venv "$validator" && "$validator/bin/pip" install -q "kubernetes-validate==$pinned" && return
    rm -rf "$validator"
    return 1
}

manifests_are_valid() { "$validator/bin/kubernetes-validate" --strict --no-warn deploy/kubernetes/wireglass.yaml deploy/kubernetes/sriov-device-plugin.yaml; }

# A manifest with a misspelt key must not pass.
validator_is_awake() {
    sed 's/livenessProbe/livelinessProbe/' deploy/kubernetes/wireglass.yaml >"$work/misspelt.yaml"
    ! "$validator/bin/kubernetes-validate" --strict --quiet "$work/misspelt.yaml"
}

# Writes the pod's files to $work, and holds together what stands in more than one manifest.
read_manifests() {
    /usr/bin/python3 - "$work" <<'END'
import json, sys, yaml

work = sys.argv[1]
documents = [d for d in yaml.safe_load_all(open("deploy/kubernetes/wireglass.yaml"))]
by_kind = {d["kind"]: d for d in documents}
for name, text in by_kind["ConfigMap"]["data"].items():
    open(f"{work}/{name}", "w").write(text)
plugin = json.loads(yaml.safe_load(open("deploy/kubernetes/sriov-device-plugin.yaml"))["data"]["config.json"])
offered = {f'{r["resourcePrefix"]}/{r["resourceName"]}' for r in plugin["resourceList"]}
pod = by_kind["DaemonSet"]["spec"]["template"]["spec"]
(container,) = pod["containers"]
resources = container["resources"]
assert resources["requests"] == resources["limits"], "not of class Guaranteed"
assert int(resources["limits"]["cpu"]) >= 2, "whole cores, two at least"
asked = {r for r in resources["limits"] if r.startswith("wireglass.io/")}
assert asked == offered, f"asked for {asked}, the plugin offers {offered}"
mounted, volumes = {m["name"] for m in container["volumeMounts"]}, {v["name"] for v in pod["volumes"]}
assert mounted == volumes, f"mounted {mounted}, declared {volumes}"
assert str(pod["securityContext"]["runAsUser"]) in open("Dockerfile").read(), "the image has another user"
for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
    assert container[probe]["exec"]["command"] == ["wireglass", "health"], probe
kubelet = yaml.safe_load(open("deploy/kubernetes/kubelet.yaml"))
assert (kubelet["kind"], kubelet["cpuManagerPolicy"]) == ("KubeletConfiguration", "static")
assert kubelet["reservedSystemCPUs"], "the static policy wants some"
END
}

# On a node with cores 4 to 6 and 9: what comes out must be in order, and with three workers.
start_script_works() {
    shellcheck -s sh "$work/start.sh"
    mkdir -p "$work/bin" "$work/run" "$work/secret"
    cp "$binary" "$work/bin/wireglass"
    "$binary" ca init --dir "$work/secret"
    chmod 0440 "$work/secret"/*
    printf '4-6,9\n' >"$work/cpuset"
    sed -i "s|/var/log/wireglass/|$work/|" "$work/wireglass.toml"
    PATH=$work/bin:$PATH CPUSET=$work/cpuset RUN=$work/run TEMPLATE=$work/wireglass.toml SECRET=$work/secret \
        PCIDEVICE_WIREGLASS_IO_INSIDE=0000:03:00.0 PCIDEVICE_WIREGLASS_IO_OUTSIDE=0000:03:00.1 sh "$work/start.sh" check
    grep -qx 'cores = \[5,6,9\]' "$work/run/wireglass.toml"
    grep -q '@' "$work/run/wireglass.toml" && return 1
    [[ $(stat -c %a "$work/run/ca/trusted.key") == 600 ]]
}

# A node that gave no port, or one core only, must not start a wire.
start_script_refuses() {
    printf '4\n' >"$work/cpuset"
    local inside=0000:03:00.0 outside=0000:03:00.1
    if PCIDEVICE_WIREGLASS_IO_INSIDE=$inside PCIDEVICE_WIREGLASS_IO_OUTSIDE=$outside CPUSET=$work/cpuset sh "$work/start.sh"; then return 1; fi
    printf '4-6\n' >"$work/cpuset"
    if PCIDEVICE_WIREGLASS_IO_INSIDE=$inside CPUSET=$work/cpuset sh "$work/start.sh"; then return 1; fi
    grep -q 'no outside port' "$work/said"
}

# What Grafana asks of a dashboard, as far as one can say without it; and that the expressions are PromQL, about metrics that are documented.
# `sight.dashboard` of the lab asks a real Prometheus.
dashboard_is_valid() {
    PYTHONPATH=scripts /usr/bin/python3 - "$work/dashboard.rules.yml" <<'END'
import json, re, sys
from lab.prometheus import dashboard

board = json.load(open("deploy/grafana/wireglass.json"))
panels = board["panels"]
assert board["uid"] and board["title"] and board["schemaVersion"] >= 36
assert len({panel["id"] for panel in panels}) == len(panels), "an id twice"
taken = set()
for panel in panels:
    at, title = panel["gridPos"], panel["title"]
    assert at["x"] + at["w"] <= 24, f"{title} is beyond the grid"
    cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
    assert not cells & taken, f"{title} lies over another panel"
    taken |= cells
    if panel["type"] == "row":
        continue
    assert panel["type"] in ("stat", "timeseries") and panel["description"] and panel["targets"], title
    assert panel["fieldConfig"]["defaults"]["unit"], title
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), title
    for target in panel["targets"]:
        assert 'instance=~"$instance"' in target["expr"] and target["datasource"]["uid"] == "${datasource}", title
documented = set(re.findall(r"^\| `([a-z_]+)`", open("docs/metrics.md").read(), re.M))
expressions = dashboard()
for title, expression in expressions:
    for name in re.findall(r"\b(?:wireglass|process)_\w+", expression):
        assert name in documented or re.sub("_(bucket|sum|count)$", "", name) in documented, f"{title}: {name}"
rules = [{"record": "a:b", "labels": {"n": str(n)}, "expr": expression} for n, (_, expression) in enumerate(expressions)]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, open(sys.argv[1], "w"))
END
    promtool check rules "$work/dashboard.rules.yml"
}

check "the systemd unit is valid" unit_is_valid
check "its exposure is below 3 (systemd-analyze security)" unit_is_confined
check "and would not be, as root" threshold_is_awake
check "the timer of intermediates is valid" timer_is_valid
check "the unit has a watchdog, and does not restart a wrong configuration" unit_has_a_watchdog
if get_validator >"$work/pip" 2>&1; then
    check "the Kubernetes manifests are valid" manifests_are_valid
    check "a misspelt key would not be" validator_is_awake
else
    say "skipped the schemas: kubernetes-validate cannot be fetched here"
    tail -n 1 "$work/pip"
fi
check "manifests, Dockerfile and device plugin speak of the same things" read_manifests
check "the pod's start script makes a configuration in order" start_script_works
check "Prometheus' rules are valid" promtool check rules deploy/prometheus/wireglass.rules.yml
check "each alert fires where it is to, and not on a good day" promtool test rules deploy/prometheus/wireglass.rules.test.yml
check "the dashboard is in order, and asks for what the rules or the metrics have" dashboard_is_valid
check "and refuses a node without a port or a core for a worker" start_script_refuses
say "$passed passed, $failed failed"
((failed == 0))
