"""Drawings of figures as SVG, made on the server: lines over time, and spans of durations.

Colours and fonts come from the style sheet by class. Each drawing has a title for who does not see it, and the page says
the same in numbers beside it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 480
HEIGHT: Final = 170
LEFT: Final = 46
RIGHT: Final = 10
TOP: Final = 10
BOTTOM: Final = 24

Points = Sequence[tuple[int, float]]


def nice_ceiling(value: float) -> float:
    """Return the next round number: 1, 2 or 5 times a power of ten.

    >>> [nice_ceiling(one) for one in (0, 0.03, 3, 17, 230)]
    [1.0, 0.05, 5.0, 20.0, 500.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(round(step * power, 10) for step in (1, 2, 5, 10) if step * power >= value * 0.999))


def line_chart(title: str, series: Sequence[tuple[str, Points]], tell: Callable[[float], str]) -> Markup:
    """Return a chart of series over time (ms); `tell` writes a value of the upright axis."""
    points = [point for _, one in series for point in one]
    if len({at for at, _ in points}) < 2:
        return Markup("")
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    top = nice_ceiling(max(value for _, value in points))

    def x(at: int) -> float:
        return LEFT + (at - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)

    parts = [_open(title, WIDTH, HEIGHT, "chart")]
    for share in (0.0, 0.5, 1.0):
        height = y(top * share)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(
            f'<text class="axis" x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{escape(tell(top * share))}</text>'
        )
    minutes = max((last - first) / 60_000, 0.1)
    ago = f"{minutes:.0f} min ago" if minutes >= 1.5 else f"{minutes * 60:.0f} s ago"
    parts.append(f'<text class="axis" x="{LEFT}" y="{HEIGHT - 6}">{ago}</text>')
    parts.append(f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">now</text>')
    for number, (_, one) in enumerate(series, 1):
        path = " ".join(f"{'L' if index else 'M'}{x(at):.1f} {y(value):.1f}" for index, (at, value) in enumerate(one))
        if number == 1 and one:
            floor = y(0)
            parts.append(f'<path class="area" d="{path} L{x(one[-1][0]):.1f} {floor} L{x(one[0][0]):.1f} {floor} Z"/>')
        parts.append(f'<path class="line s{number}" d="{path}"/>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers of ours, and texts escaped above


def latency_chart(title: str, rows: Sequence[tuple[str, float, float, float]], tell: Callable[[float], str]) -> Markup:
    """Return spans from p50 to p99 with a mark at p95, in ms on a scale of powers of ten, one line a kind."""
    if not rows:
        return Markup("")
    left, line = 96, 30
    height = TOP + line * len(rows) + BOTTOM
    low, high = 0.0, max(math.ceil(math.log10(max(max(row[1:]) for row in rows) + 1)), 1)

    def x(ms: float) -> float:
        share = (math.log10(max(ms, 1)) - low) / (high - low)
        return left + min(share, 1) * (WIDTH - left - RIGHT - 16)

    parts = [_open(title, WIDTH, height, "chart")]
    for power in range(high + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(
            f'<text class="axis" x="{at:.1f}" y="{height - 6}" text-anchor="middle">{escape(tell(10.0**power))}</text>'
        )
    for number, (kind, p50, p95, p99) in enumerate(rows):
        middle = TOP + line * number + line / 2
        start, end = x(p50), max(x(p99), x(p50) + 4)
        parts.append(
            f'<text class="label" x="{left - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(kind)}</text>'
            f'<rect class="span" x="{start:.1f}" y="{middle - 5:.1f}" width="{end - start:.1f}" height="10" rx="5"/>'
            f'<circle class="p50" cx="{start:.1f}" cy="{middle:.1f}" r="6"/>'
            f'<line class="p95" x1="{x(p95):.1f}" x2="{x(p95):.1f}" y1="{middle - 8:.1f}" y2="{middle + 8:.1f}"/>'
        )
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers of ours, and texts escaped above


def bar(start: float, end: float, kind: str) -> Markup:
    """Return a line of a timeline: a bar between two shares of the whole (0 to 1)."""
    left = min(max(start, 0), 1) * 1000
    width = max(min(max(end, 0), 1) * 1000 - left, 6)
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="{}" x="{}" y="1" width="{}" height="8"/></svg>'
    ).format(kind, f"{min(left, 994):.1f}", f"{width:.1f}")


def shares(title: str, parts: Sequence[tuple[str, int]]) -> Markup:
    """Return one bar of shares, by the classes of their names."""
    total = sum(count for _, count in parts)
    drawn, at = [_open(title, 1000, 10, "shares", stretched=True)], 0.0
    for name, count in parts:
        if count:
            width = count / total * 1000
            drawn.append(f'<rect class="{escape(name)}" x="{at:.1f}" y="0" width="{width:.1f}" height="10"/>')
            at += width
    drawn.append("</svg>")
    return Markup("".join(drawn))  # noqa: S704 - numbers of ours, and names of a closed set


def _open(title: str, width: int, height: float, kind: str, *, stretched: bool = False) -> str:
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    return f'<svg class="{kind}" viewBox="0 0 {width} {height:g}"{ratio} role="img"><title>{escape(title)}</title>'
