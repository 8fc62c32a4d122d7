"""The engine beside other proxies: `scripts/bench-peers.sh` is the way in."""

import argparse
import json
import sys
import time
from pathlib import Path

from ..goodput.bed import ENGINES, TESTPMD, without_what_is_missing
from ..lab import exit_status, on_signals_stop
from ..machine import machine
from ..net import remove_left_overs
from ..shell import run
from ..svg import Panel, bars
from .bed import PATHS, ProxyBed
from .load import LOADS, OTHERS_ALLOWED, measure, suites
from .programs import PROXIES
from .results import Results


@exit_status
def main():
    """Returns the exit status."""
    options = _arguments()
    on_signals_stop()
    remove_left_overs()
    results = Results()
    about = machine("scripts/bench-peers.sh", options.binary)
    about["proxies"] = [each.version() for name, each in PROXIES.items() if name in options.only]
    about["clients"] = [_first_line("wrk", "-v"), _first_line("ab", "-V")]
    _say(f"{about['engine']}, {', '.join(about['proxies'])}; DPDK {about['dpdk']}, Linux {about['kernel']}, {about['cpu']}")
    with ProxyBed(options.binary.resolve(), options.only, options.offloads) as bed:
        _run(bed, options, results)
    _print(results, options)
    if options.json:
        told = {**about, "seconds": options.seconds, "repetitions": options.repetitions, "offloads": options.offloads}
        options.json.write_text(json.dumps({**told, **results.as_json()}, indent=1) + "\n")
    if options.svg:
        options.svg.write_text(_plot(results, about))
    return 1 if options.check and not all(target.met for target in _asked_for(results, options)) else 0


def _asked_for(results, options):
    """The targets; with only some of the paths those that can be told from them."""
    return [target for target in results.targets() if target.reached is not None or not options.partial]


def _run(bed, options, results):
    bed.prove()
    _say("each proxy refuses a certificate of an unknown authority, and shows a certificate of its own CA to the client")
    new = next(load for load in LOADS if not load.kept)
    for route in bed.routes:
        results.suites[route.name] = suites(bed, route, new)
    _say("each exchange on a new connection has a server connection of its own, nothing is resumed; client leg, server leg:")
    for path, legs in results.suites.items():
        _say(f"  {path:<10} {', '.join(legs)}")
    for load in LOADS:
        for turn in range(options.repetitions):
            # The paths take turns, and each repetition begins with another one.
            for route in bed.routes[turn % len(bed.routes):] + bed.routes[:turn % len(bed.routes)]:
                taken = measure(bed, route, load, options.seconds, options.patience)
                results.add(load, route.name, taken)
                disturbed = f"  DISTURBED: other programs had {taken.others:.0%} of a core" if taken.others > OTHERS_ALLOWED else ""
                _say(f"{load.name:<4} {route.name:<10} {taken.rate:7.0f} {load.unit:<6}  core {taken.busy:4.0%} busy  "
                     f"{taken.per_busy_core:7.0f} for a busy core{disturbed}")


def _print(results, options):
    for load in LOADS:
        print("\n" + "\n".join(results.table(load)))
    print()
    for target in _asked_for(results, options):
        print(target.line())
    for load in LOADS:
        if disturbed := results.disturbed(load, *PATHS):
            print(f"disturbed by other programs, so not to be trusted: {load.name} {', '.join(disturbed)}")


def _plot(results, about):
    panels = []
    for load in LOADS:
        figures = [(path, results.value(load, path, "per_busy_core")) for path in PATHS]
        shown = [(path, figure, path in ENGINES) for path, figure in figures if figure]
        panels.append(Panel(f"{load.title}: {load.unit} for a busy core", shown))
    return bars(panels, f"{about['cpu']}, commit {about['commit']}, {about['date']}; direct and testpmd: no TLS in the middle")


def _say(words):
    print(words, flush=True)


def _first_line(*argv):
    done = run(argv, check=False)
    return ((done.stdout + done.stderr).decode(errors="replace").splitlines() or ["?"])[0].strip()


def _arguments():
    loads = "\n  ".join(f"{load.name:<9}  {load.title}" for load in LOADS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench-peers.sh", formatter_class=argparse.RawDescriptionHelpFormatter, description=f"""\
Compares the engine with other TLS-intercepting proxies. Each runs in turn between the same client and server, on the same core. Prints
throughput and new connections per second side by side:

  direct     a Linux bridge: the path without anything in it
  testpmd    DPDK's io forwarding between two net_af_packet ports: the most that the engine's ports can carry
  engine     wireglass on such ports: adopts connections as they pass, mints, verifies, reads HTTP, logs
  engine-xdp  the same on AF_XDP ports
  haproxy    terminates with a certificate made beforehand (it cannot mint), connects to the server with TLS, verifies
  nginx      the same
  sslsplit   mints; relays bytes; -o VerifyPeer=yes
  squid      mints; ssl_bump, nothing cached
  mitmproxy  mints; transparent mode

The proxies are Debian's packages (scripts/setup.sh --peers), with one worker each, behind a NAT redirect. TLS 1.3 on both legs,
the same CA, roots and objects; no resumption. Before it is measured, each proxy must refuse a server whose certificate comes from an
unknown authority, and each new connection of the client must lead to a new one at the server.

  {loads}

The client is wrk for kept connections and ab for new ones. Neither verifies certificates, so the client costs the same for all.

Why it is fair: the middle has core 1 to itself; client and server share core 0. The kernel processes frames on the core of the end
where they arrive (RPS), as a NIC's interrupts would be bound. So core 1 does all of the middle's work, kernel TCP and NAT included, and
nothing else. Compare the figures "for a busy core": the rate divided by the share of time in which that core was not idle (/proc/stat).
The CPU time of the proxy's processes is a second opinion; it lacks kernel work that no process is charged for. Links have MTU 1500 and
no offloads, as on a wire; with --offloads the kernel's proxies get batches of 64 KB, which no wire would bring them. Runs take turns,
and medians count. Leave the machine alone: a run in which other programs used more than {OTHERS_ALLOWED:.0%} of a core is repeated
until --patience is over, and then marked.""")
    parser.add_argument("--quick", action="store_true", help="one repetition of one second: only checks that it works")
    parser.add_argument("--only", action="append", metavar="NAME", choices=PATHS, help="measure only this path; repeatable")
    parser.add_argument("--check", action="store_true", help="exit 1 unless all targets are met in undisturbed runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, with machine, versions and commit")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the figures for a busy core")
    parser.add_argument("--offloads", action="store_true", help="keep the links' offloads on; leaves out testpmd and the engine, whose "
                        "ports cannot take such frames")
    parser.add_argument("--repetitions", type=int, help="runs of each path; default: 3")
    parser.add_argument("--seconds", type=int, help="length of a run, in whole seconds; default: 2")
    parser.add_argument("--patience", type=float, default=10, metavar="SECONDS",
                        help="how long each run may wait and be repeated until the machine is quiet; default: 10")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help="engine to run, already built")
    options = parser.parse_args()
    options.partial = bool(options.only) or options.offloads
    options.only = [path for path in without_what_is_missing(options.only or PATHS)
                    if not (options.offloads and path in (TESTPMD, *ENGINES))]
    options.repetitions = options.repetitions or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 2)
    return options


if __name__ == "__main__":
    sys.exit(main())
