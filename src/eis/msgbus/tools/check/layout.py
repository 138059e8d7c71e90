"""Where the nodes of a graph stand: in columns, from senders to receivers, with few crossings. Draws nothing.

It is the method of Sugiyama, Tagawa and Toda (1981): columns by the longest way, and in each the order of the means of
the neighbours. An edge over several columns passes a waypoint in each of them.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence

__all__ = ["Layout", "Way", "lay_out"]

_SWEEPS = 12


@dataclasses.dataclass(frozen=True)
class Way:
    """Be the places that an edge passes from left to right; `turned` says that it goes the other way."""

    stops: tuple[str, ...]
    turned: bool


@dataclasses.dataclass(frozen=True)
class Layout:
    """Hold the columns from left to right, `y` of the middle of each stop in them, and the way of each edge."""

    columns: tuple[tuple[str, ...], ...]
    y: dict[str, float]
    ways: tuple[Way, ...]


def lay_out(nodes: Sequence[str], edges: Sequence[tuple[str, str]], height: Callable[[str], float]) -> Layout:
    """Give every node a place; `height` says how much room a stop takes."""
    turned = _against(nodes, edges)
    forward = [
        (target, source) if back else (source, target) for (source, target), back in zip(edges, turned, strict=True)
    ]
    column = _columns(nodes, forward)
    columns: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for node in nodes:
        columns[column[node]].append(node)
    ways = []
    for number, (source, target) in enumerate(forward):
        between = {at: f"way {number} {at}" for at in range(column[source] + 1, column[target])}
        for at, stop in between.items():
            columns[at].append(stop)
        ways.append(Way((source, *between.values(), target), turned[number]))
    neighbours = _neighbours(ways)
    _order(columns, neighbours)
    return Layout(tuple(map(tuple, columns)), _heights(columns, neighbours, height), tuple(ways))


def _against(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[bool]:
    """Return which edges close a circle, in the order in which the nodes are met."""
    after: dict[str, list[int]] = defaultdict(list)
    for number, (source, _) in enumerate(edges):
        after[source].append(number)
    state: dict[str, str] = {}
    against = [False] * len(edges)
    entered = {target for _, target in edges}
    for root in sorted(nodes, key=lambda node: node in entered):
        stack = [(root, iter(after[root]))] if root not in state else []
        state.setdefault(root, "open")
        while stack:
            node, rest = stack[-1]
            edge = next(rest, None)
            if edge is None:
                state[node] = "done"
                stack.pop()
                continue
            target = edges[edge][1]
            against[edge] = state.get(target) == "open"
            if target not in state:
                state[target] = "open"
                stack.append((target, iter(after[target])))
    return against


def _columns(nodes: Sequence[str], forward: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the column of each node: right of all that come before it, and beside the first that comes after."""
    column = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for source, target in forward:
            column[target] = max(column[target], column[source] + 1)
    for node in nodes:
        if not any(target == node for _, target in forward):
            column[node] = min((column[target] - 1 for source, target in forward if source == node), default=0)
    return column


def _neighbours(ways: Sequence[Way]) -> dict[str, list[str]]:
    neighbours: dict[str, list[str]] = defaultdict(list)
    for way in ways:
        for left, right in zip(way.stops, way.stops[1:], strict=False):
            neighbours[left].append(right)
            neighbours[right].append(left)
    return neighbours


def _order(columns: list[list[str]], neighbours: dict[str, list[str]]) -> None:
    """Sort each column by the mean place of the neighbours in the column before, to and fro."""
    for sweep in range(_SWEEPS):
        forth = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for at in forth:
            before = {stop: place for place, stop in enumerate(columns[at - 1 if sweep % 2 == 0 else at + 1])}
            now = {stop: place for place, stop in enumerate(columns[at])}
            means = {
                stop: _mean([before[each] for each in neighbours[stop] if each in before], now[stop]) for stop in now
            }
            columns[at].sort(key=means.__getitem__)


def _heights(
    columns: Sequence[Sequence[str]], neighbours: dict[str, list[str]], height: Callable[[str], float]
) -> dict[str, float]:
    """Let each stop come near the mean of its neighbours, as far as the others in its column let it."""
    y = {stop: float(place) for column in columns for place, stop in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = {stop: _mean([y[each] for each in neighbours[stop]], y[stop]) for stop in column}
            y |= _spread(column, wanted, height)
    top = min((y[stop] - height(stop) / 2 for stop in y), default=0)
    return {stop: at - top for stop, at in y.items()}


def _spread(column: Sequence[str], wanted: dict[str, float], height: Callable[[str], float]) -> dict[str, float]:
    """Return places without overlaps: what overlaps is moved apart, around the middle of what was wanted."""
    blocks: list[list[str]] = []
    places: list[dict[str, float]] = []
    for stop in column:
        blocks.append([stop])
        places.append({stop: wanted[stop]})
        while len(blocks) > 1 and _bottom(places[-2], height) > _top(places[-1], height):
            block = blocks[-2] + blocks[-1]
            blocks[-2:], places[-2:] = [block], [_stacked(block, wanted, height)]
    return {stop: at for block in places for stop, at in block.items()}


def _stacked(block: Sequence[str], wanted: dict[str, float], height: Callable[[str], float]) -> dict[str, float]:
    offsets, at = {}, 0.0
    for stop in block:
        offsets[stop] = at + height(stop) / 2
        at += height(stop)
    shift = sum(wanted[stop] - offsets[stop] for stop in block) / len(block)
    return {stop: offset + shift for stop, offset in offsets.items()}


def _top(block: dict[str, float], height: Callable[[str], float]) -> float:
    return min(at - height(stop) / 2 for stop, at in block.items())


def _bottom(block: dict[str, float], height: Callable[[str], float]) -> float:
    return max(at + height(stop) / 2 for stop, at in block.items())


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
