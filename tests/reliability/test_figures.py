"""Figures are kept, read back and told honestly."""

from pathlib import Path

import pytest

from tests.reliability.conftest import Record
from tests.reliability.figures import Figure, read, table
from tests.reliability.rows import ROWS


@pytest.mark.parametrize(
    ("attempts", "bound"), [(20_000, "< 0.0002"), (1000, "< 0.003"), (30, "< 0.1"), (900, "< 0.004"), (29, "-")]
)
def test_bound_of_a_figure_is_the_rule_of_three(attempts: int, bound: str) -> None:
    assert Figure("A1", "", attempts, 0, "").bound == bound


def test_figure_with_failures_has_no_bound() -> None:
    assert Figure("A1", "", 1000, 1, "").bound == ""


def test_figures_are_kept_and_read_in_the_order_of_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    file = tmp_path / "figures"
    monkeypatch.setenv("RELIABILITY_FIGURES", str(file))
    record("A7", attempts=100, failures=[])
    with pytest.raises(AssertionError, match=r"A1 keys: 1 of 10 failed; 5 ms: \['why'\]"):
        record("A1", "keys", attempts=10, failures=["why"], seen="5 ms")
    figures = read(file.read_text().splitlines())
    assert figures == [Figure("A1", "keys", 10, 1, "5 ms"), Figure("A7", "", 100, 0, "")]
    done, target = ROWS["A1"].done, ROWS["A1"].target
    assert f"| **A1** {done} | keys | 10 | 1 |  | 5 ms | {target} |\n" in table(figures)
    assert table(figures[:1] * 2).endswith("|\n|  | keys | 10 | 1 |  | 5 ms |  |\n")
