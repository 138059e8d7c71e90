"""Pictures of kept results, into docs/images: `python -m benchmarks.plots`. Measures nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.cases import SIZES
from benchmarks.contenders import (
    COPY,
    ECAL,
    HAND,
    ICEORYX,
    ICEORYX_IN_PLACE,
    IDIOM,
    IN_PLACE,
    NNG,
    OURS,
    PLAIN,
    ZENOH,
)

ROOT = Path(__file__).parent
RESULTS, IMAGES = ROOT / "results", ROOT.parent / "docs" / "images"

Curve = list[tuple[float, float]]
Standings = Mapping[str, Mapping[str, Any]]

_MEGABYTES = dict(zip(SIZES, (0.1, 1.0, 6.2, 25.0), strict=True))
_STYLES: dict[str, tuple[str, str, float]] = {
    OURS: ("#d1341f", "-", 2.4),
    IN_PLACE: ("#d1341f", "--", 2.4),
    HAND: ("#1f6fb2", "-", 1.6),
    ICEORYX: ("#2f8f4e", "-", 1.6),
    ICEORYX_IN_PLACE: ("#2f8f4e", "--", 1.6),
    ZENOH: ("#9467bd", "-", 1.6),
    COPY: ("#555555", ":", 1.6),
    "small message": ("#555555", ":", 1.6),
}
_BARS = (OURS, PLAIN, HAND, IDIOM, ICEORYX, ZENOH, NNG, ECAL)
_RC: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "svg.hashsalt": "benchmarks",  # the same numbers give the same file
    "figure.facecolor": "white",
}


def newest(directory: Path = RESULTS) -> dict[str, Any]:
    """Return the newest results that are kept."""
    kept = sorted(directory.glob("*.json"))
    if not kept:
        raise FileNotFoundError(f"expected results in {directory}, found none: make bench keeps them")
    record: dict[str, Any] = json.loads(kept[-1].read_text())
    return record


def draw(record: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw every picture, and return the files."""
    cases: dict[str, Standings] = {}
    for outcome in record["outcomes"]:
        cases.setdefault(outcome["name"], outcome["standings"])
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_RC):
        figures = {"small-messages": _small(cases), "frame-sizes": _sizes(cases), "subscribers": _subscribers(cases)}
        return [_keep(figure, directory / f"bench-{name}.svg", record["facts"]) for name, figure in figures.items()]


def _keep(figure: Figure, path: Path, facts: Mapping[str, str]) -> Path:
    about = ", ".join(facts[name] for name in ("date", "machine", "kernel", "run") if name in facts)
    figure.text(0.99, 0.01, about, ha="right", va="bottom", fontsize=7, color="#777777")
    figure.savefig(path, metadata={"Date": None})
    return path


def _panels(title: str, count: int, height: float = 4.6) -> tuple[Figure, list[Axes]]:
    layout = ConstrainedLayoutEngine(rect=(0, 0.04, 1, 0.96))
    figure = Figure(figsize=(4.4 * count + 1.6, height), layout=layout)
    figure.suptitle(title, fontweight="bold")
    return figure, list(figure.subplots(1, count))


def _small(cases: Mapping[str, Standings]) -> Figure:
    figure, (rates, times) = _panels("Small messages between two processes, Unix socket or shared memory", 2, 3.8)
    _bars(rates, cases.get("small-ipc", {}), "thousand messages per second", 1000)
    _bars(times, cases.get("latency-small-ipc", {}), "one way in µs, median at 1,000 per second", 1)
    return figure


def _bars(axes: Axes, standings: Standings, label: str, unit: float) -> None:
    names = [name for name in reversed(_BARS) if name in standings]
    values = [standings[name]["value"]["median"] / unit for name in names]
    colors = ["#d1341f" if name == OURS else "#e9a29a" if name == PLAIN else "#9db4c8" for name in names]
    bars = axes.barh(names, values, color=colors)
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel(label)


def _sizes(cases: Mapping[str, Standings]) -> Figure:
    figure, (rates, times) = _panels("Frames over their size, one subscriber on the same machine", 2)
    by_rate = {size: cases.get(f"size-{size}", {}) for size in SIZES}
    by_rate["6MB"] = {**cases.get("place-ipc", {}), **cases.get("frame-ipc", {})}
    _curves(rates, over_size(by_rate), "MB per frame", "frames per second")
    by_time = {size: cases.get(f"delay-{size}", {}) for size in SIZES}
    _curves(times, over_size(by_time), "MB per frame", "one way in µs, median at 30 per second")
    for axes in (rates, times):
        axes.set_xscale("log")
        axes.set_xticks(list(_MEGABYTES.values()), [f"{size:g}" for size in _MEGABYTES.values()])
        axes.minorticks_off()
    return figure


def over_size(cases: Mapping[str, Standings]) -> dict[str, Curve]:
    """Return the values over the size, by contender."""
    curves: dict[str, Curve] = {}
    for size, standings in cases.items():
        for name in standings:
            if name in _STYLES:
                curves.setdefault(name, []).append((_MEGABYTES[size], standings[name]["value"]["median"]))
    return curves


def _subscribers(cases: Mapping[str, Standings]) -> Figure:
    figure, (rates, times, costs) = _panels("Frames of 6.2 MB to several subscribers on the same machine", 3)
    by_rate, by_cost = (_over_subscribers(cases, "fan-cpu-", key) for key in ("rate", "value"))
    copy = cases.get("frame-ipc", {}).get(COPY)
    if copy and by_rate:
        counts = [count for count, _ in next(iter(by_rate.values()))]
        by_rate[COPY] = [(count, copy["value"]["median"]) for count in (counts[0], counts[-1])]
    _curves(rates, by_rate, "subscribers", "frames per second to each")
    by_time = _over_subscribers(cases, "fan-time-", "value")
    _curves(times, by_time, "subscribers", "one way in µs, median at 30 per second")
    _curves(costs, by_cost, "subscribers", "publisher's CPU in µs per frame")
    for axes in (rates, times, costs):
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    return figure


def _over_subscribers(cases: Mapping[str, Standings], prefix: str, key: str) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row, standing in [row for name, case in cases.items() if name.startswith(prefix) for row in case.items()]:
        name, _, count = row.partition(", ")
        value = standing[key] if key == "rate" else standing[key]["median"]
        curves.setdefault(name, []).append((float(count.split()[0]), value))
    return curves


def _curves(axes: Axes, curves: Mapping[str, Curve], across: str, up: str) -> None:
    for name in [name for name in _STYLES if name in curves]:
        color, line, width = _STYLES[name]
        marker = "" if line == ":" else "o"
        axes.plot(*zip(*curves[name], strict=True), line, color=color, lw=width, marker=marker, ms=4, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    if curves:
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def main() -> int:
    """Draw the newest results."""
    for path in draw(newest(), IMAGES):
        print(path.relative_to(IMAGES.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
