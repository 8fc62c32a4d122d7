#!/usr/bin/env python3
"""Simulates how unevenly hashes spread traffic over queues, workers or engines, and draws it (docs/scale.md).

Usage: scripts/skew.py [FILE.svg]      prints the table; with a file, draws it, too

Each flow has a rate, and a hash of its addresses gives it to one of n queues. What counts is the busiest queue: its load over the mean
is what all queues have to be larger by. Same seed, same result."""

import random
import sys
from pathlib import Path

SEED = 1
TRIALS = 200
QUEUES = (2, 4, 8, 16, 32, 64)


def equal(draw):
    """10,000 flows of one rate."""
    return [(flow, 1.0) for flow in range(10_000)]


def heavy(draw):
    """10,000 flows, few of which carry most: rates of a Pareto distribution (1.2), no flow over 1 % of all."""
    rates = [draw.paretovariate(1.2) for _ in range(10_000)]
    most = sum(rates) / 100
    return [(flow, min(rate, most)) for flow, rate in enumerate(rates)]


def elephant(draw):
    """The same, and one flow that is a twentieth of all."""
    flows = heavy(draw)
    return [*flows, (len(flows), sum(rate for _, rate in flows) / 19)]


def pairs(draw):
    """The flows of the second case, hashed without ports: 10 clients (NAT), and a third of the flows goes to one server of 200."""
    spread = []
    for _, rate in heavy(draw):
        server = 0 if draw.random() < 1 / 3 else draw.randrange(1, 200)
        spread.append(((draw.randrange(10), server), rate))
    return spread


CASES = (
    ("equal flows", equal, "#2a9d8f"),
    ("few carry most", heavy, "#3a6ea5"),
    ("and one flow is 5 %", elephant, "#e07a1f"),
    ("without ports, NAT", pairs, "#b3405e"),
)


def busiest(flows, queues, draw):
    """Load of the busiest queue over the mean."""
    loads, places = [0.0] * queues, {}
    for key, rate in flows:
        if key not in places:
            places[key] = draw.randrange(queues)
        loads[places[key]] += rate
    return max(loads) * queues / sum(loads)


def simulate():
    """By case and number of queues: the median and the 95th percentile of the trials."""
    results = {}
    for name, make, _ in CASES:
        draw = random.Random(f"{SEED} {name}")
        trials = {queues: [] for queues in QUEUES}
        for _ in range(TRIALS):
            flows = make(draw)
            for queues in QUEUES:
                trials[queues].append(busiest(flows, queues, draw))
        for queues, found in trials.items():
            found.sort()
            results[name, queues] = found[TRIALS // 2], found[TRIALS * 95 // 100]
    return results


def table(results):
    lines = ["| queues | " + " | ".join(name for name, *_ in CASES) + " |", "|---" * (len(CASES) + 1) + "|"]
    for queues in QUEUES:
        cells = (f"{results[name, queues][0]:.2f}; {results[name, queues][1]:.2f}" for name, *_ in CASES)
        lines.append(f"| {queues} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_svg(results):
    """Lines of the 95th percentiles. It reads on light and dark paper."""
    width, height, left, top, right, bottom = 720, 360, 60, 24, 190, 48
    highest = max(high for _, high in results.values())

    def x(place):
        return left + (width - left - right) * place / (len(QUEUES) - 1)

    def y(value):
        return height - bottom - (height - top - bottom) * (value - 1) / (highest - 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" fill="#808080">',
        "<title>Load of the busiest of n queues over the mean, 95th percentile</title>",
    ]
    step = 1 if highest < 8 else 2
    for value in range(1, int(highest) + 1, step):
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#808080" stroke-opacity="0.3"/>')
        parts.append(f'<text x="{left - 10}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for place, queues in enumerate(QUEUES):
        parts.append(f'<text x="{x(place):.1f}" y="{height - bottom + 20}" text-anchor="middle">{queues}</text>')
    parts.append(f'<text x="{(left + width - right) / 2:.1f}" y="{height - 8}" text-anchor="middle">queues, workers or engines</text>')
    parts.append(f'<text x="{left}" y="14">busiest over mean, 95 % of runs are below</text>')
    labels = sorted(((results[name, QUEUES[-1]][1], name, colour) for name, _, colour in CASES), reverse=True)
    last = -100.0
    for value, name, colour in labels:
        points = " ".join(f"{x(place):.1f},{y(results[name, queues][1]):.1f}" for place, queues in enumerate(QUEUES))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        last = max(y(value) + 4, last + 17)
        parts.append(f'<text x="{width - right + 10}" y="{last:.1f}" fill="{colour}">{name}</text>')
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main(arguments):
    if any(word in ("-h", "--help") for word in arguments) or len(arguments) > 1:
        print(__doc__)
        return 0 if arguments and arguments[0].startswith("-") else 2
    results = simulate()
    print(table(results))
    for path in arguments:
        Path(path).write_text(draw_svg(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
