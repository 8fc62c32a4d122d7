"""The checks, in the order in which they run: each leaves the fleet as it was."""

import signal
import time
from dataclasses import dataclass
from typing import Callable

from ..shell import Failed, wait_for
from .clients import connect, failures, load
from .network import CLIENTS, ENGINES, SERVER

# What the routers take to find out that a segment is dead, and to change their routes: five probes, and some for a machine of two cores.
ROUTERS = 1.5


@dataclass(frozen=True)
class Check:
    """`run(bed)` returns a short detail to print, or raises Failed."""

    name: str
    run: Callable
    summary: str


CHECKS = []


def check(name):
    """Registers a function as a check."""
    def register(function):
        CHECKS.append(Check(name, function, (function.__doc__ or "").strip().split("\n")[0]))
        return function
    return register


@check("spread")
def spread(bed):
    """connections of a hundred clients go through all three engines, each decrypted by one that sees both directions"""
    bed.wait_next_hops()
    before = {number: bed.metric(number, "wireglass_asymmetric_flows_total") for number in ENGINES}
    with load(bed, every=1.0) as clients:
        clients.wait(300, seconds=60)
        requests = clients.stop()
    bad, said = failures(requests)
    if bad:
        raise Failed(said)
    if bed.probes.changes:
        raise Failed(f"next hops have changed meanwhile: {bed.probes.changes}")
    shares = dict.fromkeys(ENGINES, 0)
    for each in requests:
        shares[bed.where(each["port"], each["client"])[0]] += 1
    if min(shares.values()) < 0.15 * len(requests):
        raise Failed(f"of {len(requests)} connections the engines have {list(shares.values())}")
    halves = {number: bed.metric(number, "wireglass_asymmetric_flows_total") for number in ENGINES}
    if halves != before:
        raise Failed(f"halves of connections: {halves}, before {before}")
    return f"{len(requests)} connections: {', '.join(map(str, shares.values()))}; none in halves"


@check("asymmetry")
def asymmetry(bed):
    """next hops in another order on one router: connections in halves are told by an engine, fleet.asymmetric, and none passes uninspected"""
    bed.wait_next_hops()
    context = bed.context()
    before = sum(bed.metric(number, "wireglass_asymmetric_flows_total") for number in ENGINES)
    bed.network.next_hops(bed.network.outer, (2, 3, 1))
    try:
        with bed.network.client.socket() as plain:
            plain.settimeout(4)
            plain.bind((CLIENTS[7], 0))
            port = plain.getsockname()[1]
            try:
                plain.connect((SERVER, 443))
                plain.sendall(b"\x16\x03\x01")
                ended = f"answered {plain.recv(1)!r}"
            except OSError as wrong:
                ended = type(wrong).__name__
        if ended.startswith("answered"):
            raise Failed(f"a connection in halves has come through: {ended}")

        # An engine that does not know the SYN resets both ends, so the client's half has an end, too, before there is more of it.
        def told():
            for number in ENGINES:
                for event in bed.served(number, port, CLIENTS[7], kind="anomaly"):
                    if event["anomaly"]["event"] == "fleet.asymmetric" and event["wireglass"]["direction"] == "to_client":
                        return number
            return None
        at = wait_for(told, 5, "fleet.asymmetric at any engine")
        counted = sum(bed.metric(number, "wireglass_asymmetric_flows_total") for number in ENGINES)
        if counted <= before:
            raise Failed(f"counted {counted}, before {before}")
    finally:
        bed.network.next_hops(bed.network.outer, ENGINES)
    connect(bed, context, client=CLIENTS[7])
    return f"the server's half at {bed.name(at)}; the client: {ended}"


@check("killed")
def killed(bed):
    """an engine is killed under load: new connections are served by the others within the routers' time, and by it when it is back"""
    bed.wait_next_hops()
    victim = 2
    with load(bed, every=1.0) as clients:
        clients.wait(150, seconds=60)
        at = time.monotonic()
        bed.engines[victim].process.popen.send_signal(signal.SIGKILL)
        bed.wait_next_hops([number for number in ENGINES if number != victim])
        took = time.monotonic() - at
        clients.wait(200, seconds=60)
        bed.restart(victim)
        bed.wait_next_hops()
        back = time.monotonic()
        clients.wait(150, seconds=60)
        requests = clients.stop()
    # What has begun before the routers knew may fail; and what had its handshake on the way when next hops changed.
    late = [each for each in requests if each["error"] and not at - 10 <= each["t"] <= at + ROUTERS and not abs(each["t"] - back) < ROUTERS]
    if late:
        raise Failed(f"{len(late)} requests failed {late[0]['t'] - at:.1f} s after: {late[0]['error']}")
    if took > ROUTERS:
        raise Failed(f"the routers took {took:.2f} s")
    bad, said = failures(requests)
    return f"routers after {took:.2f} s; {said.split(',')[0]}, all within them"
