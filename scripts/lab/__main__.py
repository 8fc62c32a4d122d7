"""Runs the lab's checks: `scripts/lab-test.sh` is the way in."""

import argparse
import signal
import sys
import time
from pathlib import Path

from . import checks  # noqa: F401  (its modules register themselves)
from . import content, fetcher, holding, profiles, revocation, starttls
from .hosts import RULES, hosts
from .lab import Interrupted, Lab, on_signals_stop
from .ports import KINDS, kind
from .runner import Report, selected
from .shell import Failed

# Engine configurations, in the order in which they run. `alone`: the check starts what it needs by itself.
GROUPS = {
    "inspect": {},
    "not-tls-bypass": {"not_tls": "bypass"},
    "profile": profiles.SETUP,
    "revocation": revocation.SETUP,
    "fetcher": fetcher.SETUP,
    "held": {"rules": RULES.replace('action = "block"', 'action = "block"\ncontact = "hold"')},
    "starttls": starttls.SETUP,
    "content": content.SETUP,
    "content-strict": content.STRICT,
    "content-hold": holding.SETUP,
    "alone": None,
}


def main():
    """Returns the exit status."""
    options = _arguments()
    chosen = selected(options.only)
    if options.list:
        for each in chosen:
            print(f"{each.name:<34}  {each.summary}")
        return 0
    if not chosen:
        print(f"no check is called {' or '.join(options.only)}; --list shows them", file=sys.stderr)
        return 2
    on_signals_stop()
    providers = ["aws-lc-rs", "ring"] if options.provider == "both" else [options.provider]
    binary = options.binary.resolve() if options.wire == "wireglass" else None
    report = Report()
    began = time.monotonic()
    try:
        with Lab(binary, hosts, RULES, ports=kind(options.ports)) as lab:
            print(f"lab up in {time.monotonic() - began:.1f} s: {lab.network.client.name} - {options.wire} on {options.ports} - "
                  f"{lab.network.server.name}", flush=True)
            for provider in providers if binary else [None]:
                _run_groups(lab, chosen, provider, report, first=provider in (None, providers[0]))
            if options.keep:
                _keep(lab, providers[0])
    except Interrupted as signal_name:
        print(f"\nstopped by {signal_name}; the lab is removed", file=sys.stderr)
        report.summary()
        return 130
    except Failed as failed:
        print(f"the lab could not be set up: {failed}", file=sys.stderr)
        return 1
    return report.summary()


def _run_groups(lab, chosen, provider, report, first):
    suffix = f" [{provider}]" if provider else ""
    for group, setup in GROUPS.items():
        members = [each for each in chosen if each.group == group and (first or each.crypto)]
        if setup is None:
            for each in members:
                lab.middle = None
                report.run(each, lab)
            continue
        if not members:
            continue
        setup = dict(setup, **({"provider": provider} if provider else {}))
        why_not = None
        for each in members:
            if not why_not and not (lab.middle and lab.middle.alive()):
                why_not = _start(lab, f"{group}-{provider}", setup)
            if why_not:
                report.line(False, each.name + suffix, why_not)
                why_not = "not run: see above"
            else:
                report.run(each, lab, suffix)
        report.stop(lab, group, suffix)


def _start(lab, name, setup):
    """Starts what belongs in the middle, anew if it died in an earlier check. Returns why it did not, or None."""
    try:
        lab.wire(name, **setup)
        return None
    except Failed as failed:
        return str(failed)


def _keep(lab, provider):
    lab.wire("kept", **({"provider": provider} if lab.binary else {}))
    network = lab.network
    print(f"""
The lab stays up until Ctrl-C. In another terminal, for example:
  ip netns exec {network.client.name} curl --cacert {lab.trust} --resolve www.lab.test:443:10.203.0.2 https://www.lab.test/
  ip netns exec {network.client.name} tcpdump -ni lan
  tail -f {lab.middle.folder}/eve.json      (engine log: {lab.middle.log})""", flush=True)
    signal.pause()


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/lab-test.sh", description="""
        Runs wireglass between two network namespaces, on two DPDK ports. Clients are curl, openssl and Python, servers are nginx and
        Python. Prints one line for each check and a summary; exit status 0 only if all passed. Examples: --only bypass (one group);
        --only operate.take-over (one check); --keep (then try it by hand).""")
    parser.add_argument("--only", action="append", metavar="PATTERN",
                        help="run only checks whose name starts with this, or matches this shell pattern; repeatable")
    parser.add_argument("--list", action="store_true", help="list all checks and exit")
    parser.add_argument("--keep", action="store_true", help="keep the lab running afterwards, until Ctrl-C; prints commands to try")
    parser.add_argument("--provider", choices=["ring", "aws-lc-rs", "both"], default="aws-lc-rs",
                        help="the engine's crypto provider (default: aws-lc-rs); both: everything with aws-lc-rs, then the "
                             "checks that depend on the provider again with ring")
    parser.add_argument("--ports", choices=list(KINDS), default="af_packet",
                        help="kind of the engine's ports (default: af_packet); xdp: AF_XDP sockets; tap: interfaces of its own, bridged to the "
                             "cables; memif: shared memory with dpdk-testpmd, which drives the cables; virtio_user: virtio devices, with "
                             "testpmd behind them over vhost-user; vhost: the reverse, testpmd plays a virtual machine")
    parser.add_argument("--wire", choices=["wireglass", "testpmd"], default="wireglass",
                        help="testpmd: a plain wire instead of the engine, to test the checks: each check of inspection must then FAIL")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
