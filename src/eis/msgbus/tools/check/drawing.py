"""A graph of a deployment as a drawing in SVG. Knows no rule, and no configuration."""

from collections import defaultdict

from eis.msgbus.tools.check.graph import Edge, Graph
from eis.msgbus.tools.check.layout import Layout, Way, lay_out
from eis.msgbus.tools.svg import Svg, width_of

__all__ = ["drawing"]

_SLOT = 22.0  # of an edge at the side of a node
_GAP = 16.0  # between nodes of a column
_BEND = 60.0  # where edges may cross
_MARGIN = 24.0
_LEGEND = 34.0
_LABEL = 11.0  # size of letters
_CURVE, _PLAIN = "#1a7f4b", "#8a5a00"
_FILLS = {"a": ("#e8f0fb", "#3d6fb4", 4.0), "p": ("#f4f4f4", "#888888", 16.0)}


def drawing(graph: Graph) -> str:
    """Return the drawing: applications are boxes, addresses round ones; arrows go the way of messages or requests."""
    return _Drawing(graph).page()


class _Drawing:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._svg = Svg()
        self._degree: dict[tuple[str, str], int] = defaultdict(int)  # of a node's side
        ends = [(edge.source, edge.target) for edge in graph.edges]
        first = lay_out(list(graph.nodes), ends, lambda _: _SLOT)
        for way in first.ways:
            self._degree[way.stops[0], "right"] += 1
            self._degree[way.stops[-1], "left"] += 1
        self._layout: Layout = lay_out(list(graph.nodes), ends, lambda stop: self._height(stop) + _GAP)
        self._slots = self._give_slots()
        self._left, self._right = self._place_columns()

    def _height(self, stop: str) -> float:
        """Return the height of a node, in which its edges have room; of a waypoint, that of an edge."""
        if stop not in self._graph.nodes:
            return _SLOT - _GAP
        return max(34.0, _SLOT * max(self._degree[stop, "left"], self._degree[stop, "right"]) + 8)

    def _give_slots(self) -> dict[tuple[str, str, int], float]:
        """Return at which height each edge meets the sides of its stops, in the order of where it comes from."""
        sides: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        y = self._layout.y
        for number, way in enumerate(self._layout.ways):
            for left, right in zip(way.stops, way.stops[1:], strict=False):
                sides[left, "right"].append((y[right], number))
                sides[right, "left"].append((y[left], number))
        slots = {}
        for (stop, side), edges in sides.items():
            for place, (_, number) in enumerate(sorted(edges)):
                slots[stop, side, number] = y[stop] + (place - (len(edges) - 1) / 2) * _SLOT
        return slots

    def _place_columns(self) -> tuple[list[float], list[float]]:
        """Return where each column begins and ends; between two, the labels on both sides have room."""
        titles = [max((self._title_width(stop) for stop in column), default=0) for column in self._layout.columns]
        after: dict[int, float] = defaultdict(float)
        before: dict[int, float] = defaultdict(float)
        column_of = {stop: at for at, column in enumerate(self._layout.columns) for stop in column}
        for edge, way in zip(self._graph.edges, self._layout.ways, strict=True):
            room = width_of(_label(edge), _LABEL) + 26
            if _labelled_first(way):
                after[column_of[way.stops[0]]] = max(after[column_of[way.stops[0]]], room)
            else:
                before[column_of[way.stops[-1]]] = max(before[column_of[way.stops[-1]]], room)
        left, right, x = [], [], _MARGIN
        for at, width in enumerate(titles):
            x += before[at]
            left.append(x)
            right.append(x := x + width)
            x += after[at] + _BEND
        return left, right

    def _title_width(self, stop: str) -> float:
        return width_of(self._graph.nodes[stop]) + 24 if stop in self._graph.nodes else 0

    def page(self) -> str:
        for number in range(len(self._graph.edges)):
            self._draw_edge(number)
        for at, column in enumerate(self._layout.columns):
            for stop in column:
                if stop in self._graph.nodes:
                    self._draw_node(stop, at)
        bottom = max((y + self._height(stop) / 2 for stop, y in self._layout.y.items()), default=0) + 2 * _MARGIN
        self._draw_legend(bottom)
        return self._svg.page(max([*self._right[-1:], 640.0]) + _MARGIN, bottom + _LEGEND)

    def _draw_node(self, node: str, at: int) -> None:
        fill, line, corner = _FILLS[node[0]]
        height, y = self._height(node), self._layout.y[node] + _MARGIN
        left, width = self._left[at], self._right[at] - self._left[at]
        self._svg.box(left, y - height / 2, width, height, fill=fill, line=line, corner=corner)
        self._svg.text(left + width / 2, y + 4, self._graph.nodes[node], anchor="middle", bold=node[0] == "a")

    def _draw_edge(self, number: int) -> None:
        edge, way = self._graph.edges[number], self._layout.ways[number]
        column_of = {stop: at for at, column in enumerate(self._layout.columns) for stop in column}
        room = width_of(_label(edge), _LABEL) + 26
        color = _CURVE if edge.encrypted else _PLAIN
        path = []
        for left, right in zip(way.stops, way.stops[1:], strict=False):
            start = (self._right if left == way.stops[0] else self._left)[column_of[left]]  # and through a waypoint
            y1 = self._slots[left, "right", number] + _MARGIN
            x2, y2 = self._left[column_of[right]], self._slots[right, "left", number] + _MARGIN
            here = _labelled_first(way) and left == way.stops[0]
            there = not _labelled_first(way) and right == way.stops[-1]
            self._label(edge, start + 13 if here else x2 - room + 13, y1 if here else y2, shown=here or there)
            straight = self._right[column_of[left]] + (room if here else 13), x2 - (room if there else 13)
            path.append(_bend((start, y1), straight, (x2, y2)))
        self._svg.line(
            " ".join(path), color=color, width=2 if edge.encrypted else 1.5, dashes="" if edge.known else "2 4"
        )
        if edge.known:
            self._draw_head(way, number, column_of, color)

    def _draw_head(self, way: Way, number: int, column_of: dict[str, int], color: str) -> None:
        first, last = way.stops[0], way.stops[-1]
        if way.turned:
            x, y = self._right[column_of[first]], self._slots[first, "right", number]
        else:
            x, y = self._left[column_of[last]], self._slots[last, "left", number]
        self._svg.arrow(x, y + _MARGIN, color=color, left=way.turned)

    def _label(self, edge: Edge, x: float, y: float, *, shown: bool) -> None:
        if shown:
            self._svg.text(x, y - 4, _label(edge), size=_LABEL, fill=_CURVE if edge.encrypted else _PLAIN)

    def _draw_legend(self, y: float) -> None:
        x = _MARGIN
        entries = (("encrypted (CURVE)", _CURVE, ""), ("plain text", _PLAIN, ""), ("direction unknown", _PLAIN, "2 4"))
        for text, color, dashes in entries:
            self._svg.line(f"M{x:.1f} {y:.1f}h28", color=color, width=2, dashes=dashes)
            self._svg.text(x + 36, y + 4, text, size=_LABEL, fill="#555")
            x += 60 + width_of(text, _LABEL)


def _label(edge: Edge) -> str:
    return f"{edge.label} (CURVE)".strip() if edge.encrypted else edge.label


def _labelled_first(way: Way) -> bool:
    """Tell whether the application, whose names the label holds, is at the left end."""
    return way.stops[0].startswith("a")


def _bend(begin: tuple[float, float], bent: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a way from `begin` to `end`, which bends between two places across."""
    (x1, y1), (first, last), (x2, y2) = begin, bent, end
    middle = (first + last) / 2
    return f"M{x1:.1f} {y1:.1f}H{first:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {last:.1f} {y2:.1f}H{x2:.1f}"
