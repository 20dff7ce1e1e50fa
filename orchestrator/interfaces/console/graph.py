"""Drawings of who follows whom, as SVG made on the server: an app's rules, and a session's parent and children."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from markupsafe import Markup, escape

from orchestrator.contracts.app import AppSpec
from orchestrator.contracts.base import JsonObject
from orchestrator.contracts.session import Record
from orchestrator.contracts.skill import END, Monitor, Responsive, Skill, Supervisor, ToolStep
from orchestrator.interfaces.console.layout import Laid, Node, lay_out
from orchestrator.interfaces.console.shown import inline, link, tone, visible

BOX: Final = (152, 48)
#: Between columns, and between what stands in one; turned, columns are rows below each other.
GAP: Final = (96, 26)
TURNED_GAP: Final = (44, 52)
MARGIN: Final = 16
#: A drawing that would be wider than this goes from top to bottom.
WIDEST: Final = 1_250
MOST_DRAWN: Final = 30

#: A node of an app's drawing: what it is, and its name.
Spot = tuple[str, str]


def draw_app(spec: AppSpec) -> Markup:
    """Return an app's skills with their routes, whom they send work to, and the statuses that tools end with."""
    edges: dict[tuple[Spot, Spot], list[str]] = {}
    dashed: set[tuple[Spot, Spot]] = set()
    for source, target, label, is_dashed in _app_edges(spec):
        labels = edges.setdefault((source, target), [])
        if label and label not in labels:
            labels.append(label)
        if is_dashed:
            dashed.add((source, target))
    roots = [("skill", spec.entry_skill), *(("skill", name) for name in spec.skills if name != spec.entry_skill)]
    laid = lay_out(roots, edges)
    sheet = _Sheet(laid)
    parts = [sheet.head(f"The rules of {spec.name}: skills, routes, and statuses")]
    for edge, labels in edges.items():
        kind = "edge dashed" if edge in dashed else "edge"
        parts.append(sheet.edge(edge, kind, ", ".join(labels)))
    spots = {*roots, *(spot for edge in edges for spot in edge)}
    parts += [_spot(spec, spot, *sheet.corner(laid.places[spot])) for spot in sorted(spots)]
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers of ours, and names escaped where they are written


def _app_edges(spec: AppSpec) -> Iterator[tuple[Spot, Spot, str, bool]]:
    end: Spot = ("end", "end")
    for name, skill in spec.skills.items():
        here: Spot = ("skill", name)
        for route in skill.routes:
            label = route.when + (" · confident" if route.gate else "")
            yield here, (end if route.next == END else ("skill", route.next)), label, False
        if isinstance(skill, Supervisor):
            for one in skill.subordinates:
                yield here, ("skill", one), "each as a child" if skill.for_each else "sends to", True
        if isinstance(skill, Monitor) and skill.trigger_target in spec.skills:
            yield here, ("skill", skill.trigger_target), "submits", True
        for rule in spec.terminal_tools:
            if _may_call(skill, rule.tool_name):
                yield here, ("status", rule.status), rule.tool_name.rpartition(":")[2], True
    if spec.default_terminal_status is not None:
        yield end, ("status", spec.default_terminal_status), "no rule met", False


def _may_call(skill: Skill, tool: str) -> bool:
    bare = tool.rpartition(":")[2]
    if isinstance(skill, ToolStep):
        return skill.tool.rpartition(":")[2] == bare
    return isinstance(skill, Responsive) and any(bare in names for names in skill.tools.values())


def _spot(spec: AppSpec, spot: Spot, x: float, y: float) -> str:
    what, name = spot
    if what == "skill":
        skill = spec.skills.get(name)
        kind = skill.kind if skill is not None else "not declared"
        return _box(x, y, f"node k-{kind}" + (" entry" if name == spec.entry_skill else ""), name, kind)
    if what == "status":
        status = spec.statuses.get(name)
        ends = status.kind if status is not None else "plain"
        return _box(x, y, f"node status t-{tone(ends)}", name, ends)
    return _box(x, y, "node over", "end", "settled by rule")


def draw_family(record: Record, family: Sequence[Record], children: Mapping[str, JsonObject | None]) -> Markup:
    """Return a session between its parent and its children, "" where it has neither."""
    known = {one.session_id: one for one in family} | {record.session_id: record}
    drawn = list(children)[:MOST_DRAWN]
    edges = [(record.session_id, one) for one in drawn]
    if record.parent:
        edges.insert(0, (record.parent, record.session_id))
    if not edges:
        return Markup("")
    laid = lay_out([edges[0][0]], edges)
    sheet = _Sheet(laid)
    parts = [sheet.head(f"Parent and children of {record.session_id}")]
    fork = (record.parent, record.session_id) if record.forked_at else None
    parts += [
        sheet.edge(
            edge, "edge dashed" if edge == fork else "edge", f"fork at {record.forked_at}" if edge == fork else ""
        )
        for edge in edges
    ]
    for name, place in laid.places.items():
        one = known.get(str(name))
        word = (one.status or one.phase) if one is not None else "not here"
        kind = f"node status t-{tone(one.phase)}" if one is not None else "node"
        box = _box(*sheet.corner(place), f"{kind} entry" if name == record.session_id else kind, str(name), word)
        parts.append(f'<a href="{escape(link(str(name)))}">{box}</a>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers of ours, and names escaped where they are written


class _Sheet:
    """Where what was laid out is drawn: from left to right, or from top to bottom where that would be too wide."""

    def __init__(self, laid: Laid) -> None:
        self._laid = laid
        self._is_turned = 2 * MARGIN + laid.columns * (BOX[0] + GAP[0]) - GAP[0] > WIDEST
        self._gap = TURNED_GAP if self._is_turned else GAP
        across, down = (laid.rows, laid.columns) if self._is_turned else (laid.columns, laid.rows)
        room = 44 if laid.back else 0
        self._width = 2 * MARGIN + across * (BOX[0] + self._gap[0]) - self._gap[0] + (room if self._is_turned else 0)
        self._height = 2 * MARGIN + down * (BOX[1] + self._gap[1]) - self._gap[1] + (0 if self._is_turned else room)

    def corner(self, place: tuple[int, float]) -> tuple[float, float]:
        """Return the left upper corner of a box."""
        column, row = place if not self._is_turned else (place[1], place[0])
        return MARGIN + column * (BOX[0] + self._gap[0]), MARGIN + row * (BOX[1] + self._gap[1])

    def head(self, title: str) -> str:
        """Return the beginning of the drawing."""
        width, height = self._width, self._height
        return (
            f'<svg class="graph{" narrow" if width < 700 else ""}" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img"><title>{escape(visible(title))}</title>'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path class="tip" d="M0 0 L8 4 L0 8 Z"/></marker></defs>'
        )

    def edge(self, edge: tuple[Node, Node], kind: str, label: str) -> str:
        """Return an arrow."""
        if edge in self._laid.back:
            return self._back(edge, label)
        corners = [self.corner(place) for place in self._laid.ways[edge]]
        ins, outs = [self._in(*one) for one in corners], [self._out(*one) for one in corners]
        path = [f"M{outs[0][0]:g} {outs[0][1]:g}"]
        for index, end in enumerate(ins[1:], 1):
            path.append(self._bend(outs[index - 1], end))
            if index < len(ins) - 1:
                path.append(f"L{outs[index][0]:g} {outs[index][1]:g}")
        (x1, y1), (x2, y2) = outs[0], ins[1]
        text = _label((x1 + x2) / 2, (y1 + y2) / 2 + (4 if self._is_turned else -4), label)
        return f'<path class="{kind}" d="{" ".join(path)}" marker-end="url(#tip)"/>{text}'

    def _in(self, x: float, y: float) -> tuple[float, float]:
        return (x + BOX[0] / 2, y) if self._is_turned else (x, y + BOX[1] / 2)

    def _out(self, x: float, y: float) -> tuple[float, float]:
        return (x + BOX[0] / 2, y + BOX[1]) if self._is_turned else (x + BOX[0], y + BOX[1] / 2)

    def _bend(self, start: tuple[float, float], end: tuple[float, float]) -> str:
        (x1, y1), (x2, y2) = start, end
        if self._is_turned:
            bend = self._gap[1] / 2
            return f"C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
        bend = self._gap[0] / 2
        return f"C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"

    def _back(self, edge: tuple[Node, Node], label: str) -> str:
        """Return an arrow against the direction: around the outside of its boxes."""
        (x1, y1), (x2, y2) = (self.corner(self._laid.places[one]) for one in edge)
        if self._is_turned:
            x1, y1, x2, y2 = x1 + BOX[0], y1 + BOX[1] * 0.6, x2 + BOX[0], y2 + BOX[1] * 0.4
            far = max(x1, x2) + 44
            path, at = f"M{x1:g} {y1:g} C{far:g} {y1:g} {far:g} {y2:g} {x2:g} {y2:g}", (far - 12, (y1 + y2) / 2)
        else:
            x1, y1, x2, y2 = x1 + BOX[0] * 0.66, y1 + BOX[1], x2 + BOX[0] * 0.34, y2 + BOX[1]
            far = max(y1, y2) + 44
            path, at = f"M{x1:g} {y1:g} C{x1:g} {far:g} {x2:g} {far:g} {x2:g} {y2:g}", ((x1 + x2) / 2, far - 10)
        return f'<path class="edge back" d="{path}" marker-end="url(#tip)"/>{_label(*at, label)}'


def _box(x: float, y: float, kind: str, name: str, below: str) -> str:
    middle = x + BOX[0] / 2
    return (
        f'<g class="{escape(kind)}"><title>{escape(visible(name))} ({escape(visible(below))})</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="8"/>'
        f'<text class="name" x="{middle:g}" y="{y + 21:g}" text-anchor="middle">{escape(visible(inline(name, 20)))}</text>'
        f'<text class="below" x="{middle:g}" y="{y + 37:g}" text-anchor="middle">{escape(visible(below))}</text></g>'
    )


def _label(x: float, y: float, text: str) -> str:
    if not text:
        return ""
    return (
        f'<text class="edge-label" x="{x:g}" y="{y:g}" text-anchor="middle">{escape(visible(inline(text, 17)))}'
        f"<title>{escape(visible(text))}</title></text>"
    )
