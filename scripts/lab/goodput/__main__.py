"""Compares goodput through the engine with goodput without it: `scripts/goodput.sh` is the way in."""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

from ..lab import exit_status, on_signals_stop
from ..machine import machine
from ..net import remove_left_overs
from ..shell import run
from .bed import DIRECT, ENGINE, ENGINE_XDP, HOST, PATHS, TESTPMD, Bed, Line, without_what_is_missing
from .runs import Cell, Runner, warm_up


@exit_status
def main():
    """Returns the exit status."""
    options = _arguments()
    on_signals_stop()
    remove_left_overs()
    began, cells = time.monotonic(), []
    _print_head()
    for line in options.lines:
        _run_line(line, options, cells)
    missed = [cell for cell in cells if cell.met() is False]
    print(f"\n{len(cells) - len(missed)} of {len(cells)} targets met, {time.monotonic() - began:.0f} s", flush=True)
    if options.json:
        options.json.write_text(json.dumps({**_about(options), "cells": [cell.as_json() for cell in cells]}, indent=1) + "\n")
    return 1 if options.check and missed else 0


def _run_line(line, options, cells):
    # Where the line is what limits, testpmd has nothing to say.
    paths = [path for path in options.paths if not line.mbits or path != TESTPMD]
    connections = options.connections if line.rtt_ms else 1
    seconds = options.seconds * (2 if line.mbits else 1)
    rules = f'[[rule]]\nname = "as asked"\nsni = ["{HOST}"]\naction = "{options.action}"\n'
    with Bed(options.binary.resolve(), paths, line, rules=rules) as bed:
        warm_up(bed)
        runner = Runner(bed, seconds, connections)
        for loss in options.loss if line.mbits or options.fast_loss else [0]:
            # With a delay on one side, the loss is there too: the hard case. Without loss there is no side.
            sides = [line.side] if line.rtt_ms else options.sides
            for side in sides if loss else sides[:1]:
                for direction in options.directions:
                    cell = Cell(line, loss, side, direction)
                    runner.fill(cell, options.repetitions)
                    cells.append(cell)
                    _print_row(cell)


def _print_head():
    print("| line, loss, direction | direct | testpmd | engine | engine-xdp | engine/direct | engine/testpmd | xdp/af_packet | CPU s/GB "
          "| target |")
    print(f"{'|---' * 10}|", flush=True)


def _print_row(cell):
    figures = [f"{median(cell.goodput[path]):.0f}" if path in cell.goodput else "" for path in PATHS]
    ratios = [_with_spread(cell.ratios(ENGINE, to)) for to in (DIRECT, TESTPMD)]
    ratios.append(_with_spread(cell.ratios(ENGINE_XDP, ENGINE)))
    cpu = f"{median(cell.engine_cpu):.2f}" if cell.engine_cpu else ""
    to, share = cell.target()
    verdict = {True: "met", False: "MISSED", None: "not measured"}[cell.met()]
    words = [cell.name, *figures, *ratios, cpu, f"{share:.0%} of {to}: {verdict}"]
    print(f"| {' | '.join(words)} |", flush=True)


def _with_spread(ratios):
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f"{ratios[0]:.0%}"
    return f"{median(ratios):.0%} ({min(ratios):.0%}-{max(ratios):.0%})"


def _about(options):
    curl = run(["curl", "--version"], check=False).stdout.decode(errors="replace").split("\n", 1)[0].strip()
    return {
        **machine("scripts/goodput.sh", options.binary), "curl": curl, "congestion_control": "cubic", "action": options.action, "seconds": options.seconds,
        "repetitions": options.repetitions, "connections_with_delay": options.connections,
    }


def _arguments():
    parser = argparse.ArgumentParser(prog="scripts/goodput.sh", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
Compares the goodput of curl and nginx (TLS 1.3, CUBIC at both ends) over three paths between the same two hosts:

  direct    a Linux bridge between the middle's two interfaces: the path without the engine
  testpmd   DPDK's io forwarding between two net_af_packet ports: the most that such ports can carry
  engine    wireglass between two net_af_packet ports, decrypting
  engine-xdp  the same between two AF_XDP ports; "xdp/af_packet" is its goodput divided by the engine's

First without a rate limit, compared with testpmd: net_af_packet is the bottleneck. Then over slower lines, compared with direct: one
line without delay (a token bucket at the hosts' ports, --mbits), and lines with delay (a user-space relay with a drop-tail queue,
--delay-mbits), the same for every path. nftables drops frames at the hosts' interfaces, on one side of the middle at a time, in the
direction of the data; a delay is on the same side. Each run lasts a fixed time; goodput is what the receiving program got. The paths
take turns.

Client and server (and the relay) share core 0. The forwarder has core 1 to itself: the engine's worker, testpmd's lcore, or the
bridge's receive processing (RPS). Offloads are off everywhere, so each frame is as it would be on a wire.""")
    parser.add_argument("--quick", action="store_true", help="few combinations, one repetition: only checks that it works")
    parser.add_argument("--check", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, with machine, versions and commit")
    parser.add_argument("--loss", type=float, nargs="+", metavar="PERCENT", help="loss rates; default: 0 0.1 1 3")
    parser.add_argument("--rtt", type=float, nargs="+", metavar="MS", help="round-trip times; default: 0 10 40")
    parser.add_argument("--mbits", type=float, default=200, help="rate of the line without delay, in Mbit/s; default: 200")
    parser.add_argument("--delay-mbits", type=float, default=100, help="rate of the lines with delay, in Mbit/s; default: 100")
    parser.add_argument("--fast-loss", action="store_true", help="drop frames in the runs without a rate limit as well")
    parser.add_argument("--sides", nargs="+", choices=["client", "server"], default=["client", "server"],
                        help="side of the middle where frames are dropped; default: both, one at a time")
    parser.add_argument("--delay-sides", nargs="+", choices=["client", "server"], default=["client"],
                        help="side that has delay and loss; default: client, since the engine's two legs are alike")
    parser.add_argument("--directions", nargs="+", choices=["down", "up"], default=["down", "up"])
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--action", choices=["decrypt", "bypass"], default="decrypt", help="what the engine does with the connections; default: decrypt")
    parser.add_argument("--repetitions", type=int, help="runs of each combination; default: 3")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a run; doubled on the slower lines; default: 1")
    parser.add_argument("--connections", type=int, default=4, help="parallel connections on lines with delay; default: 4")
    parser.add_argument("--binary", type=Path, default=Path("target/release/wireglass"), help="engine to run, already built")
    options = parser.parse_args()
    options.paths = without_what_is_missing(options.paths)
    options.loss = options.loss or ([0, 1] if options.quick else [0, 0.1, 1, 3])
    options.rtt = options.rtt or ([0, 10] if options.quick else [0, 10, 40])
    options.repetitions = options.repetitions or (1 if options.quick else 3)
    options.lines = [line for rtt in options.rtt for line in
                     ([Line(rtt, side, options.delay_mbits) for side in options.delay_sides] if rtt else
                      [Line(), Line(mbits=options.mbits)])]
    return options


if __name__ == "__main__":
    sys.exit(main())
