"""What was measured, side by side, and what the engine has to reach."""

from dataclasses import asdict, dataclass
from statistics import median

from ..goodput.bed import ENGINE, ENGINE_XDP, TESTPMD
from .bed import PATHS
from .load import LOADS, OTHERS_ALLOWED
from .programs import PROXIES

# The engine's share of what testpmd carries on the same ports: the rate as it is, as testpmd polls and is always busy.
OF_TESTPMD = 0.80
# The engine's figure for a busy core over the best other proxy's.
KEPT_OF_BEST, NEW_OF_BEST = 1.0, 4.0


@dataclass(frozen=True)
class Target:
    """One: what the engine reached of it, None when it was not measured."""

    title: str
    wanted: float
    reached: float | None
    # What it is computed from was measured while other programs had the machine.
    disturbed: bool

    @property
    def met(self):
        """None: not measured, or not to be trusted."""
        return None if self.reached is None or self.disturbed else self.reached >= self.wanted

    def line(self):
        """For people."""
        if self.reached is None:
            return f"not measured: {self.title}"
        verdict = {True: "met", False: "MISSED", None: "disturbed, says nothing"}[self.met]
        return f"{verdict}: {self.title}: {self.reached:.2f}, asked for {self.wanted:.2f}"


class Results:
    """Measures by load and path, one for each repetition."""

    def __init__(self):
        self.measures = {}
        # What each path negotiated: (client leg, server leg).
        self.suites = {}

    def add(self, load, path, measure):
        """One run."""
        self.measures.setdefault(load.name, {}).setdefault(path, []).append(measure)

    def value(self, load, path, figure):
        """The median of a figure (a property of `Measure`); None when there is none."""
        values = [getattr(each, figure) for each in self.measures.get(load.name, {}).get(path, ())]
        return None if not values or None in values else median(values)

    def best_proxy(self, load):
        """The other proxy with the best figure for a busy core: (name, figure); None when none was measured."""
        figures = {name: self.value(load, name, "per_busy_core") for name in PROXIES}
        return max(((name, figure) for name, figure in figures.items() if figure), key=lambda each: each[1], default=None)

    def disturbed(self, load, *paths):
        """Of these paths those that other programs left too little of the machine in the middle one of the runs."""
        taken = self.measures.get(load.name, {})
        return [path for path in paths if path in taken and median(each.others for each in taken[path]) > OTHERS_ALLOWED]

    def targets(self):
        """All of them."""
        targets = []
        for load in LOADS:
            best, engine = self.best_proxy(load), self.value(load, ENGINE, "per_busy_core")
            ratio = engine / best[1] if best and engine else None
            than = f"{best[0]}, the best other proxy" if best else "the best other proxy"
            if load.kept:
                wire, rate = self.value(load, TESTPMD, "rate"), self.value(load, ENGINE, "rate")
                targets.append(Target(f"{load.title}, engine over testpmd", OF_TESTPMD, rate / wire if wire and rate else None,
                                      bool(self.disturbed(load, ENGINE, TESTPMD))))
            targets.append(Target(f"{load.title}, for a busy core, engine over {than}", KEPT_OF_BEST if load.kept else NEW_OF_BEST,
                                  ratio, bool(self.disturbed(load, ENGINE, *PROXIES))))
        return targets

    def table(self, load):
        """Lines of Markdown."""
        best = self.best_proxy(load)
        unit = load.unit
        lines = [f"| {load.title} | {unit} | core busy | {unit} for a busy core | {_per_second(load)} | of the best other proxy |",
                 "|---|---|---|---|---|---|"]
        for path in PATHS:
            rate, busy, figure = (self.value(load, path, each) for each in ("rate", "busy", "per_busy_core"))
            if rate is None:
                continue
            process = self.value(load, path, "per_process_second")
            # testpmd never sleeps: what it would do with a busy core is what it did, and its CPU time says nothing.
            words = [path, f"{rate:.0f}", f"{busy:.0%}", f"{figure:.0f}", f"{process:.0f}" if process and path != TESTPMD else "",
                     f"{figure / best[1]:.2f}" if best else ""]
            lines.append(f"| {' | '.join(words)} |")
        for title, figure in (("rate", "rate"), ("a busy core", "per_busy_core")):
            xdp, packet = (self.value(load, path, figure) for path in (ENGINE_XDP, ENGINE))
            if xdp and packet:
                lines.append(f"\nAF_XDP over AF_PACKET, {title}: {xdp / packet:.2f}")
        return lines

    def as_json(self):
        """All of it."""
        return {
            "suites": {path: {"client": client, "server": server} for path, (client, server) in self.suites.items()},
            "loads": [{**asdict(load), "paths": {path: [_figures(each) for each in runs]
                                                 for path, runs in self.measures.get(load.name, {}).items()}} for load in LOADS],
            "targets": [{**asdict(target), "met": target.met} for target in self.targets()],
            "disturbed": {load.name: self.disturbed(load, *PATHS) for load in LOADS},
        }


def _per_second(load):
    return "Mbit per CPU second of its processes" if load.kept else "per CPU second of its processes"


def _figures(measure):
    return {**asdict(measure), **{name: getattr(measure, name) for name in ("rate", "busy", "per_busy_core", "per_process_second")}}
