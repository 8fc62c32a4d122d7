"""Cells of the table, and the single runs that fill them."""

import json
import subprocess
import time
from dataclasses import asdict, dataclass, field
from statistics import median

from ..shell import Failed
from .bed import DIRECT, ENGINE, HOST, TESTPMD, Line
from .loss import Loss

# What the engine has to reach, by loss in percent: a share of the direct path's goodput.
LOSS_TARGETS = {0.1: 0.95, 1: 0.85, 3: 0.75}
# Where neither loss nor line limit: a share of what testpmd forwards between the same kind of ports.
FORWARDING_TARGET = 0.90


@dataclass
class Cell:
    """One line of the table: a path, a loss, a direction. Goodputs in Mbit/s, one for each repetition."""

    line: Line
    loss: float
    side: str
    direction: str
    goodput: dict = field(default_factory=dict)
    # CPU time of the engine's worker, in seconds per gigabyte.
    engine_cpu: list = field(default_factory=list)

    @property
    def name(self):
        """For people."""
        loss = f"{self.loss:g} % {self.side}" if self.loss else "no loss"
        return ", ".join(filter(None, (self.line.name, loss, self.direction)))

    def ratios(self, path, to):
        """Goodput of one path over another's, repetition by repetition."""
        return [a / b for a, b in zip(self.goodput.get(path, ()), self.goodput.get(to, ())) if b]

    def target(self):
        """(compared with, share) that is asked for; None where nothing is."""
        if self.loss in LOSS_TARGETS:
            return DIRECT, LOSS_TARGETS[self.loss]
        return (DIRECT, LOSS_TARGETS[0.1]) if self.line.mbits else (TESTPMD, FORWARDING_TARGET)

    def met(self):
        """Whether it is reached, by the median. None: not measured."""
        target = self.target()
        ratios = self.ratios(ENGINE, target[0])
        return median(ratios) >= target[1] if ratios else None

    def as_json(self):
        """All of it, with the targets."""
        to, share = self.target()
        return {**asdict(self), "target": {"of": to, "share": share, "met": self.met()}}


class Runner:
    """Runs cells on a bed."""

    def __init__(self, bed, seconds, connections):
        self.bed, self.seconds, self.connections = bed, seconds, connections

    def fill(self, cell, repetitions):
        """All repetitions of a cell, the paths taking turns; each begins with another one."""
        routes = self.bed.routes
        for turn in range(repetitions):
            for route in routes[turn % len(routes):] + routes[:turn % len(routes)]:
                goodput, cpu = self.run(route, cell)
                cell.goodput.setdefault(route.name, []).append(goodput)
                if route.name == ENGINE:
                    cell.engine_cpu.append(cpu)

    def run(self, route, cell):
        """One run. Returns (Mbit/s, CPU seconds of the forwarder per gigabyte)."""
        transfer = self._down if cell.direction == "down" else self._up
        route.wake()
        try:
            before = route.cpu_seconds()
            with Loss(self.bed, route, cell.side, cell.direction, cell.loss) as loss:
                carried, rate = transfer(route, self.bed.new_run())
                if cell.loss and not loss.lost():
                    raise Failed(f"nothing was lost in {carried} bytes of `{cell.name}` over {route.name}")
            after = route.cpu_seconds()
        finally:
            route.rest()
        cpu = None if before is None else (after - before) / (carried / 1e9)
        return rate * 8 / 1e6, cpu

    def _curls(self, route, path, *options):
        """So many at once, each for as long as a run lasts. Returns what each says of itself."""
        bed = self.bed
        argv = bed.client.argv("curl", "-sS", "--http1.1", "--cacert", bed.trust, "--max-time", self.seconds, "-w", "%{json}",
                               "-o", "/dev/null", "--resolve", f"{HOST}:443:{route.server_address}", *options,
                               f"https://{HOST}{path}")
        began = [subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                 for _ in range(self.connections)]
        told = []
        for each in began:
            try:
                out, err = each.communicate(timeout=self.seconds + 20)
            except subprocess.TimeoutExpired as late:
                each.kill()
                raise Failed(f"curl over {route.name} does not end") from late
            # 28: the time is over, as planned.
            if each.returncode != 28:
                raise Failed(f"curl over {route.name}: exit {each.returncode}, {err.decode(errors='replace').strip()[-200:]}")
            told.append(json.loads(out))
        return told

    def _down(self, route, _run):
        told = self._curls(route, "/files/endless")
        if any(each["time_starttransfer"] == 0 for each in told):
            raise Failed(f"no answer over {route.name} in {self.seconds} s")
        rate = sum(each["size_download"] / (each["time_total"] - each["time_starttransfer"]) for each in told)
        return sum(each["size_download"] for each in told), rate

    def _up(self, route, run):
        told = self._curls(route, f"/upload/{run}?run={run}", "-T", self.bed.nginx.folder / "files" / "endless", "-H", "Expect:")
        sent = time.monotonic()
        # What the client has written is not what has arrived: the server tells, once it has seen the connection's end. When
        # that was, we have to see: nginx's own clock stands still while data comes in.
        rates, carried = [], 0
        while len(rates) < self.connections:
            if time.monotonic() > sent + 20:
                raise Failed(f"no end of the upload over {route.name} in the server's log")
            for size in self.bed.uploads(run)[len(rates):]:
                late = time.monotonic() - sent
                each = told[len(rates)]
                rates.append(size / (each["time_total"] - each["time_pretransfer"] + late))
                carried += size
            time.sleep(0.005)
        return carried, sum(rates)


def warm_up(bed):
    """One short transfer each way over all paths: caches, tickets, page cache."""
    runner = Runner(bed, 0.5 if not bed.line.rtt_ms else 1.0, 1)
    for direction in ("down", "up"):
        for route in bed.routes:
            runner.run(route, Cell(bed.line, 0, "client", direction))
    time.sleep(0.1)
