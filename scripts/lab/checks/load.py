"""Many connections: all are served, and nothing of them stays."""

from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed


def _burst(lab, count):
    """`count` requests, each on a connection of its own, 200 at once. Returns curl's client ports."""
    argv = ["curl", "-sS", "--http1.1", "--cacert", lab.trust, "--max-time", 60, "--parallel", "--parallel-immediate",
            "--parallel-max", 200, "--resolve", f"{WWW}:443:{SERVER4}", "-H", "Connection: close",
            "-w", "%{stderr}%{http_code} %{local_port}\n"]
    bodies = [lab.folder / f"body-{number}" for number in range(count)]
    for number, body in enumerate(bodies):
        argv += [f"https://{WWW}/number/{number}", "-o", body]
    done = lab.network.client.run(*argv, timeout=70, check=False)
    said = done.stderr.decode()
    wrong = [number for number, body in enumerate(bodies)
             if not body.exists() or body.read_bytes() != f"number {number}\n".encode()]
    for body in bodies:
        body.unlink(missing_ok=True)
    if wrong or done.returncode:
        raise Failed(f"{len(wrong)} of {count} bodies wrong or missing; curl exit {done.returncode}: {said[-200:]}")
    ports = {int(line.split()[1]) for line in said.splitlines() if line.startswith("200 ")}
    # Each is a connection that eve.json must know in the end.
    lab.client.made.extend((port, "curl burst") for port in ports)
    return ports


@check("load.at-once")
def at_once(lab):
    """200 connections at once, each with the right body and decrypted"""
    ports = _burst(lab, 200)
    for port in ports:
        at(lab.eve.one("tls", port), "wireglass.action", "decrypt")
    return f"{len(ports)} connections"


@check("load.memory")
def memory(lab):
    """600 more connections do not make the engine bigger"""
    resident = getattr(lab.middle, "resident_kb", None)
    if not resident:
        raise Failed("no engine on this wire")
    # Pools, caches and the allocator's arenas have their size after some hundred connections.
    for _ in range(3):
        _burst(lab, 300)
    # 4 MB over 600 connections is 7 KB for each: one forgotten TLS session is more than that. The allocator's pages come and go; what
    # is forgotten comes again in each round.
    growth = []
    while len(growth) < 3 and (not growth or growth[-1] > 4096):
        before = resident()
        for _ in range(2):
            _burst(lab, 300)
        growth.append(resident() - before)
    if growth[-1] > 4096:
        raise Failed(f"{growth} KiB more after 600 connections each, {resident()} KiB in all")
    return f"{growth[-1]:+d} KiB over 600 connections, {resident() / 1024:.0f} MiB resident"
