"""A small model of the slots: every order of the steps of a writer and its readers, each of which may be killed at any.

A frame is two words, which are written and read one after the other. What is torn is a frame of which a reader, that
took it for whole, got another word than was published. Knows nothing of the bus.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Rules", "Torn", "explore"]


@dataclasses.dataclass(frozen=True)
class Rules:
    """Say what is done; each of these can be left out, to see what it is for."""

    reader_locks: bool = True
    writer_locks: bool = True
    compares: bool = True  # the generation with that of the descriptor
    locks_before_it_compares: bool = True
    raises_before_it_writes: bool = True  # the generation


class Slot(NamedTuple):
    generation: int = 0
    words: tuple[int, int] = (0, 0)
    writer: bool = False
    readers: frozenset[int] = frozenset()


class Writer(NamedTuple):
    step: str = "take"
    frame: int = 1
    slot: int = 0
    ring: tuple[int, ...] = ()


class Reader(NamedTuple):
    step: str = "receive"
    slot: int = 0
    generation: int = 0
    frame: int = 0
    word: int = 0


class State(NamedTuple):
    slots: tuple[Slot, ...]
    writer: Writer
    readers: tuple[Reader, ...]
    waiting: tuple[tuple[tuple[int, int, int], ...], ...]  # descriptors on their way to each: slot, generation, frame


class Torn(Exception):
    """A reader took a frame for whole that was not."""


def explore(slots: int, frames: int, readers: int, rules: Rules) -> int:
    """Go through every state that can come about; return how many there are.

    Raises:
        Torn: in one of them a frame is torn.
    """
    first = State((Slot(),) * slots, Writer(ring=tuple(range(slots))), (Reader(),) * readers, ((),) * readers)
    seen, ahead = {first}, [first]
    while ahead:
        state = ahead.pop()
        for new in _steps(state, frames, rules):
            if new not in seen:
                seen.add(new)
                ahead.append(new)
    return len(seen)


def _steps(state: State, frames: int, rules: Rules) -> Iterator[State]:
    """Yield every state that one step leads to: of the writer, of a reader, or of who kills one of them."""
    writer = state.writer
    if writer.step != "killed" and writer.frame <= frames:
        yield _WRITING[writer.step](state, rules)
        yield _unlocked(state, writer.slot)._replace(writer=writer._replace(step="killed"))
    for number, reader in enumerate(state.readers):
        if reader.step == "killed" or (reader.step == "receive" and not state.waiting[number]):
            continue
        yield _READING[reader.step](state, number, rules)
        yield _let_go(state, number, Reader("killed"))


def _slot(state: State, number: int, **changes: Any) -> State:
    slots = list(state.slots)
    slots[number] = slots[number]._replace(**changes)
    return state._replace(slots=tuple(slots))


def _write(state: State, **changes: Any) -> State:
    return state._replace(writer=state.writer._replace(**changes))


# --- the writer ---


def _take(state: State, rules: Rules) -> State:
    """Try the slot that was published longest ago; when somebody reads it, it goes to the end."""
    slot, *others = state.writer.ring
    if state.slots[slot].readers:
        return _write(state, ring=(*others, slot))
    taken = _slot(state, slot, writer=rules.writer_locks)
    return _write(taken, slot=slot, ring=tuple(others), step="raise" if rules.raises_before_it_writes else "first")


def _raise(state: State, rules: Rules) -> State:
    raised = _slot(state, state.writer.slot, generation=state.slots[state.writer.slot].generation + 1)
    return _write(raised, step="first" if rules.raises_before_it_writes else "unlock")


def _first(state: State, _rules: Rules) -> State:
    slot = state.writer.slot
    return _write(_slot(state, slot, words=(state.writer.frame, state.slots[slot].words[1])), step="second")


def _second(state: State, rules: Rules) -> State:
    slot = state.writer.slot
    written = _slot(state, slot, words=(state.slots[slot].words[0], state.writer.frame))
    return _write(written, step="unlock" if rules.raises_before_it_writes else "raise")


def _unlocked(state: State, slot: int) -> State:
    return _slot(state, slot, writer=False)


def _unlock(state: State, _rules: Rules) -> State:
    return _write(_unlocked(state, state.writer.slot), step="publish")


def _publish(state: State, _rules: Rules) -> State:
    writer = state.writer
    descriptor = (writer.slot, state.slots[writer.slot].generation, writer.frame)
    sent = state._replace(waiting=tuple((*waiting, descriptor) for waiting in state.waiting))
    return _write(sent, step="take", frame=writer.frame + 1, ring=(*writer.ring, writer.slot))


_WRITING = {
    "take": _take, "raise": _raise, "first": _first, "second": _second, "unlock": _unlock, "publish": _publish,
}  # fmt: skip


# --- a reader ---


def _read(state: State, number: int, reader: Reader) -> State:
    readers = list(state.readers)
    readers[number] = reader
    return state._replace(readers=tuple(readers))


def _let_go(state: State, number: int, reader: Reader) -> State:
    """End the lease, if there is one, and go on as `reader`; who is killed gets nothing any more."""
    slot = state.readers[number].slot
    ended = _slot(state, slot, readers=state.slots[slot].readers - {number})
    if reader.step == "killed":
        waiting = list(ended.waiting)
        waiting[number] = ()
        ended = ended._replace(waiting=tuple(waiting))
    return _read(ended, number, reader)


def _receive(state: State, number: int, rules: Rules) -> State:
    waiting = list(state.waiting)
    (slot, generation, frame), *others = waiting[number]
    waiting[number] = tuple(others)
    step = "lock" if rules.locks_before_it_compares else "compare"
    return _read(state._replace(waiting=tuple(waiting)), number, Reader(step, slot, generation, frame))


def _lock(state: State, number: int, rules: Rules) -> State:
    reader = state.readers[number]
    slot = state.slots[reader.slot]
    if rules.reader_locks and slot.writer:
        return _read(state, number, Reader())  # lost
    step = "compare" if rules.locks_before_it_compares else "first"
    readers = slot.readers | {number} if rules.reader_locks else slot.readers
    return _read(_slot(state, reader.slot, readers=readers), number, reader._replace(step=step))


def _compare(state: State, number: int, rules: Rules) -> State:
    reader = state.readers[number]
    if rules.compares and state.slots[reader.slot].generation != reader.generation:
        return _let_go(state, number, Reader())  # lost
    return _read(state, number, reader._replace(step="first" if rules.locks_before_it_compares else "lock"))


def _read_first(state: State, number: int, _rules: Rules) -> State:
    reader = state.readers[number]
    return _read(state, number, reader._replace(step="second", word=state.slots[reader.slot].words[0]))


def _read_second(state: State, number: int, _rules: Rules) -> State:
    reader = state.readers[number]
    words = (reader.word, state.slots[reader.slot].words[1])
    if words != (reader.frame, reader.frame):
        raise Torn(f"frame {reader.frame} is {words}")
    return _let_go(state, number, Reader())


_READING = {
    "receive": _receive, "lock": _lock, "compare": _compare, "first": _read_first, "second": _read_second,
}  # fmt: skip
