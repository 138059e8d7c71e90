"""The benchmarks' own machinery: missing contenders are told, kept results are drawn. Measures nothing."""

import re
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.meeting import until

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]


def test_pictures_of_the_kept_results_are_those_that_the_readme_shows(tmp_path: Path) -> None:
    from benchmarks import plots

    drawn = {path.name: path.read_text() for path in plots.draw(plots.newest(), tmp_path)}
    readme = (ROOT / "benchmarks" / "README.md").read_text()
    assert set(re.findall(r"docs/images/(bench-[\w-]+\.svg)", readme)) == set(drawn)
    assert all("<svg" in text for text in drawn.values())
    assert all((ROOT / "docs" / "images" / name).exists() for name in drawn)


def test_curves_take_every_size_that_was_measured() -> None:
    from benchmarks import plots
    from benchmarks.contenders import HAND, OURS

    standings = {OURS: {"value": {"median": 5.0}}, HAND: {"value": {"median": 4.0}}, "unknown": {}}
    curves = plots.over_size({"100kB": standings, "25MB": standings})
    assert curves == {OURS: [(0.1, 5.0), (25.0, 5.0)], HAND: [(0.1, 4.0), (25.0, 4.0)]}


def test_table_says_why_a_contender_is_missing_and_measures_the_others() -> None:
    from benchmarks import frames, ours, report
    from benchmarks.cases import Case
    from benchmarks.contest import Effort, contest
    from benchmarks.drive import Load
    from benchmarks.pair import Window

    here = (partial(frames.copying, Load((10,))), frames.nothing)
    gone = (partial(ours.small_sender, without="wings"), frames.nothing)
    case = Case("case", "a case", "ipc", {"gone": gone, "here": here}, (("gone", "here", 1.0),), Window(10, 2))
    outcome = contest(case, Effort(1, 1, 0.01), lambda _: None)
    assert outcome.missing == {"gone": "not offered by this version"}
    assert list(outcome.standings) == ["here"]
    assert outcome.comparisons == []
    table = report.text({}, [outcome], {})
    assert re.search(r"\| gone +\| not offered by this version +\|", table)


def test_case_fails_when_a_contender_of_its_own_fails() -> None:
    from benchmarks import frames
    from benchmarks.cases import Case
    from benchmarks.contest import Effort, contest
    from benchmarks.drive import Load
    from benchmarks.pair import Failure, Window

    broken = (partial(frames.copying, Load(("wide",))), frames.nothing)  # type: ignore[arg-type]  # a fault to be told
    case = Case("case", "a case", "ipc", {"broken": broken}, (), Window(10, 2))
    with pytest.raises(Failure, match=r"(?s)broken: .*TypeError"):
        contest(case, Effort(1, 1, 0.01), lambda _: None)


def test_guest_that_fails_is_told_by_its_last_line() -> None:
    from benchmarks import frames
    from benchmarks.cases import Case
    from benchmarks.contenders import ZENOH
    from benchmarks.contest import Effort, contest
    from benchmarks.drive import Load
    from benchmarks.pair import Window

    broken = (partial(frames.copying, Load(("wide",))), frames.nothing)  # type: ignore[arg-type]  # a fault to be told
    case = Case("case", "a case", "ipc", {ZENOH: broken}, (), Window(10, 2))
    outcome = contest(case, Effort(1, 1, 0.01), lambda _: None)
    assert outcome.standings == {}
    assert outcome.missing[ZENOH].startswith("failed: TypeError")


def test_recorder_of_raw_frames_is_measured_and_keeps_up_for_a_second(socket_dir: Path) -> None:
    from benchmarks import recording

    kept = recording.measure(30, 1, socket_dir)
    assert (kept.published, kept.recorded, kept.missing) == (30, 30, 0)
    assert re.fullmatch(r"30 frames/s: 30 of 30 recorded, 0 missing, 187 MB/s, \d+% of a core", str(kept))
    assert [*socket_dir.glob("*.mcap")] == []


def test_least_that_python_can_do_passes_every_frame_on_where_it_lies(tmp_path: Path) -> None:
    from benchmarks import least
    from benchmarks.place import new_place
    from benchmarks.work import frames, small_message

    place, taken = new_place("ipc", str(tmp_path)), []

    def receive() -> None:
        with least.open_receiver(place, lambda message, image: taken.append((message["n"], image[0]))) as wait_for:
            wait_for(100)

    thread = threading.Thread(target=receive)
    thread.start()
    images = frames((50, 100))
    with least.open_sender(place, images[0].nbytes) as send:
        for number in range(100):
            send(small_message() | {"n": number}, images[number % 5])
            until(partial(lambda sent: len(taken) > sent, number))
    thread.join(10)
    assert taken == [(number, number % 5) for number in range(100)]
