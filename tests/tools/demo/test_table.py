import json

from eis.msgbus.tools.demo.figures import Figures
from eis.msgbus.tools.demo.messages import End
from eis.msgbus.tools.demo.table import Facts, line, table, to_json, verdict
from tests.tools.demo.samples import result, viewer

FACTS = Facts("zmq_ipc", asked=6, answered=5, answer_ms=40.25)
NOTHING = Facts("zmq_tcp", asked=0, answered=0, answer_ms=None)


def played(lost: int = 0) -> Figures:
    figures = Figures()
    for number in range(1, 52):
        figures.add(result(number, at_ms=40 * number), viewer(number, 40 * number + 5))
    figures.end(End(51, lost, "17" if lost else ""))
    return figures


def test_the_table_says_everything_when_a_run_is_over() -> None:
    assert table(played(), FACTS) == [
        "eis.msgbus demo, 2.0 s",
        "1920 x 1080 frames over zmq_ipc; results, snapshots over zmq_tcp with CURVE",
        "",
        "process     frames/s     GB/s   p50 ms   p99 ms   CPU %   frames   lost",
        "-----------------------------------------------------------------------",
        "ingestion       25.0    0.156                         8       51",
        "analytics       25.0    0.156      2.0      2.0      15       51      0",
        "viewer          25.0    0.000      5.0      5.0       2       51      0",
        "",
        "p50, p99: from the sending of a frame until it, or its result, arrived",
        "frames come in shared memory",
        "snapshots: 5 of 6 answered, p50 40.2 ms",
        "nothing lost: 51 frames, 51 results",
    ]


def test_the_table_has_no_rows_when_nothing_arrived() -> None:
    lines = table(Figures(), NOTHING)
    assert lines[1].startswith("frames over zmq_tcp")
    assert "snapshots: 0 of 0 answered" in lines
    assert "frames come as nobody knows yet" in lines


def test_the_table_fits_a_terminal_when_the_figures_are_large() -> None:
    figures = Figures()
    figures.add(result(1), viewer(1, 5))
    figures.add(result(99_999_999, arrival_ms=123_456), viewer(2, 123_460))
    assert max(map(len, table(figures, FACTS))) <= 79


def test_the_line_says_the_same_in_short() -> None:
    assert line(played()) == (
        "   2.0 s   25.0 frames/s  0.156 GB/s  analytics 2.0/2.0 ms  viewer 5.0/5.0 ms  lost 0  CPU 8/15/2 %"
    )


def test_the_line_says_what_it_waits_for_when_nothing_arrived() -> None:
    assert line(Figures()) == "waiting for the first result"


def test_the_verdict_names_the_frame_when_one_is_lost() -> None:
    assert verdict(played(lost=1)) == "LOST: 1 frames (number 17), 0 results"


def test_the_verdict_is_no_last_word_when_the_stream_has_not_ended() -> None:
    assert verdict(Figures()) == "so far nothing lost: 0 frames, 0 results"


def test_the_json_has_the_same_figures_for_programs() -> None:
    document = json.loads(to_json(played(lost=1), FACTS))
    assert (document["mode"], document["form"], document["lost"]) == ("zmq_ipc", "shared", 1)
    assert document["missing"] == "17"
    assert document["snapshots"] == {"asked": 6, "answered": 5, "p50_ms": 40.25}
    assert document["processes"]["analytics"]["frames"] == 51
