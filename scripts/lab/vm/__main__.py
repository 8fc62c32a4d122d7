"""Runs the checks in a virtual machine: `scripts/vm-test.sh` is the way in."""

import argparse
import sys
import time
from pathlib import Path

from .. import checks as _lab_checks  # noqa: F401  (its modules register themselves)
from ..hosts import RULES, hosts
from ..lab import Interrupted, on_signals_stop
from ..runner import Report, selected
from ..shell import Failed
from . import checks
from .lab import VmLab
from .network import KINDS

# Of the lab's own checks those that speak of the ports, in the lab's order.
_OF_THE_LAB = ("wire.ping", "wire.ping6", "wire.ping-full-frame", "fetch.tls13-http2", "fetch.tls12-http1", "fetch.ipv6",
               "fetch.vlan", "bypass.certificate", "bypass.frames", "block.alert", "block.reset")


def main():
    """Returns the exit status."""
    options = _arguments()
    chosen = [each for each in selected(options.only) if each.name in _OF_THE_LAB or each.group.startswith("vm-")]
    if options.list:
        for each in chosen:
            print(f"{each.name:<34}  {each.summary}")
        return 0
    if not chosen:
        print(f"no check is called {' or '.join(options.only)}; --list shows them", file=sys.stderr)
        return 2
    on_signals_stop()
    report = Report()
    try:
        with VmLab(options.binary.resolve(), hosts, RULES, options.kernel, options.accelerator) as lab:
            print(f"guest up in {lab.boot_seconds:.1f} s: {lab.machine.accelerator}, kernel {lab.machine.kernel.release}",
                  flush=True)
            for each in (each for each in chosen if each.group == "vm-machine"):
                report.run(each, lab)
            if not any(each.name == "nic.bind" for each in chosen):
                checks.bind(lab)
            for kind in (kind for kind in KINDS if kind.name in options.nic):
                _run_kind(lab, kind, chosen, report)
            if options.keep:
                _keep(lab)
            for each in (each for each in chosen if each.group == "vm-end"):
                report.run(each, lab)
    except Interrupted as signal_name:
        print(f"\nstopped by {signal_name}; the machine is removed", file=sys.stderr)
        report.summary()
        return 130
    except Failed as failed:
        print(f"the machine could not be set up: {failed}", file=sys.stderr)
        return 1
    return report.summary()


def _run_kind(lab, kind, chosen, report):
    suffix = f" [{kind.name}]"
    for group in ("inspect", "vm-wire", "vm-alone"):
        for each in (each for each in chosen if each.group == group):
            if group != "vm-alone" and not (lab.middle and lab.middle.alive()):
                try:
                    lab.wire_of(kind, f"{kind.name}-{time.monotonic_ns()}")
                except Failed as failed:
                    report.line(False, f"start{suffix}", str(failed))
                    return
            elif group == "vm-alone":
                report.stop(lab, "inspect", suffix)
                lab.kind = kind
            report.run(each, lab, suffix)
    report.stop(lab, "inspect", suffix)


def _keep(lab):
    lab.wire_of(KINDS[0], "kept")
    print(f"""
The machine stays up until Ctrl-C. In another terminal, for example:
  ip netns exec {lab.network.client.name} curl --cacert {lab.trust} --resolve www.lab.test:443:10.203.0.2 https://www.lab.test/
  tail -f {lab.middle.folder}/eve.json      (engine log: {lab.middle.log}, console: {lab.machine.console})""", flush=True)
    print("A line that you type here runs in the guest (each in a shell of its own); end of input ends it all.", flush=True)
    while line := sys.stdin.readline():
        try:
            print(lab.guest.run("sh", "-c", line, seconds=600, check=False)[1], end="", flush=True)
        except Failed as failed:
            print(failed)


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/vm-test.sh", description="""
        Boots a virtual machine whose NICs (virtio-net with two queues and RSS, and e1000e) are bound to vfio-pci behind an
        emulated IOMMU, runs wireglass in it with hugepages, and sends traffic through it between two network namespaces
        of this machine. Prints one line for each check and a summary; exit status 0 only if all passed, 77 if there is no QEMU for
        this machine. A transcript of the guest's console stays in target/vm/transcript.txt. Everything else is removed at the end,
        also on Ctrl-C.""")
    parser.add_argument("--only", action="append", metavar="PATTERN",
                        help="run only checks whose name starts with this, or matches this shell pattern; repeatable")
    parser.add_argument("--nic", action="append", choices=[kind.name for kind in KINDS],
                        help="test only this kind of NIC; repeatable")
    parser.add_argument("--list", action="store_true", help="list all checks and exit")
    parser.add_argument("--keep", action="store_true", help="keep the machine running afterwards, until Ctrl-C")
    parser.add_argument("--accelerator", choices=["auto", "kvm", "tcg"], default="auto",
                        help="how QEMU runs the guest (default: auto, which is KVM if a guest boots under it, else TCG)")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help=argparse.SUPPRESS)
    parser.add_argument("--kernel", type=Path, default=Path("target/vm/kernel"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.nic = options.nic or [kind.name for kind in KINDS]
    return options


if __name__ == "__main__":
    sys.exit(main())
