"""Bar plots as SVG, without a library."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABELS, FIGURES = 720, 110, 90
BAR, GAP, TITLE = 18, 6, 34


@dataclass(frozen=True)
class Panel:
    """One plot: its title, and bars as (label, value, whether it stands out)."""

    title: str
    bars: list


def bars(panels, foot):
    """The text of an SVG file: the panels one below the other, each with a scale of its own that begins at 0, and a line of text."""
    out, top = [], 8
    for panel in panels:
        out.append(_text(8, top + 18, panel.title, "bold"))
        top += TITLE
        longest = max((value for _, value, _ in panel.bars), default=0) or 1
        for label, value, stands_out in panel.bars:
            length = (WIDTH - LABELS - FIGURES) * value / longest
            out.append(_text(LABELS - 8, top + BAR - 4, label, anchor="end"))
            colour = "#c2410c" if stands_out else "#64748b"
            out.append(f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            out.append(_text(LABELS + length + 6, top + BAR - 4, f"{value:,.0f}"))
            top += BAR + GAP
        top += GAP
    out.append(_text(8, top + 14, foot, size=11))
    height = top + 26
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{height}" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")


def _text(x, y, words, weight="normal", anchor="start", size=13):
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
