"""Messages as the demo's processes send them, with figures that are easy to reckon with."""

from eis.msgbus.tools.demo.messages import Defect, Progress, Result

MS = 1_000_000
SECOND = 1_000 * MS


def result(
    number: int,
    *,
    at_ms: int = 0,
    arrival_ms: int = 2,
    counted: int | None = None,
    defects: tuple[Defect, ...] = (),
    shape: tuple[int, int, int] = (1080, 1920, 3),
) -> Result:
    """The result of frame `number`, sent at `at_ms`, analysed in one millisecond; the `counted`th for analytics."""
    sent, count = at_ms * MS, number if counted is None else counted
    return Result(
        img_handle="0123456789",
        width=shape[1],
        height=shape[0],
        channels=shape[2],
        frame_number=number,
        sent_ns=sent,
        received_ns=sent + arrival_ms * MS,
        analysed_ns=sent + (arrival_ms + 1) * MS,
        defects=list(defects),
        ingestion=Progress(number, number * 6_220_800, number * 3 * MS, sent),
        analytics=Progress(count, count * 6_220_800, count * 6 * MS, sent + (arrival_ms + 1) * MS),
        lost=number - count,
        form="shared",
    )


def viewer(number: int, at_ms: int) -> Progress:
    """How far the viewer is at that time."""
    return Progress(number, 0, number * MS, at_ms * MS)
