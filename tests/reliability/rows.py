"""The reliability plan: what is done in each row, and what is asked of it."""

import dataclasses

__all__ = ["ROWS", "Row"]


@dataclasses.dataclass(frozen=True)
class Row:
    """Say what is done, and the target."""

    done: str
    target: str


ROWS = {
    "A1": Row("clients with a wrong, unlisted or no key, PLAIN, ZMTP 1 and 2, no handshake", "0 get in"),
    "A2": Row("access control ended, killed, stuck, raising, malformed", "0 get in; told, and back, within 2 s"),
    "A3": Row("two publishers and two services, each with a list of its own", "each client gets in at its own only"),
    "A4": Row("a key is removed by a reload", "cut within 1 s; the others have a gap of 0.5 s at most"),
    "A5": Row("a key is listed later; the server's key is changed", "in without a restart, within 5 s"),
    "A6": Row("secret files that others may read, links, of others, of another length", "all refused, no secret told"),
    "A7": Row("a proxy reads along", "the payload is never on the wire; without keys it is"),
    "B1": Row("who is not in the group connects, creates, unlinks, replaces, under four umasks", "0 granted"),
    "B2": Row("a stranger spins on connect while socket files are made, under four umasks", "0 get in"),
    "B3": Row(
        "something lies at the path of a socket file, or the path cannot be one", "only what is stale is replaced"
    ),
    "B4": Row("300 idle connections where 256 descriptors were allowed", "served all the time"),
    "C1": Row("kill -9 of a publisher, started again", "p50 < 250 ms, p99 < 1 s; in order, nothing twice"),
    "C2": Row(
        "kill -9 of a subscriber, service or broker",
        "others miss nothing, or go on (broker); no descriptor left, memory within 5 MiB",
    ),
    "C3": Row(
        "a subscriber of 6.2 MB frames at 30 Hz is stopped for 5 s", "publish p99 < 20 ms; memory bounded; loss counted"
    ),
    "C4": Row("a publisher is stopped", "stalled within 3 s, with stalled_after of 1 s"),
    "C5": Row("a stranger or impostor has the port first, then the publisher", "back within 2 s"),
    "C6": Row(
        "messages of more than max_message_bytes",
        "refused; whoever sends one is cut off; others miss nothing; back within 2 s",
    ),
    "C7": Row("a proxy breaks the connection", "nothing wrong arrives, goes on by itself; slow frames are not cut"),
    "C8": Row("replies lost, twice, late, broken; service restarted", "never another request's reply; the next works"),
    "C9": Row("publisher restarted", "all subscribers back within 3 s"),
    "C10": Row("close, exit without close", "all delivered while somebody reads; bounded otherwise (2 s + 0.5 s)"),
    "D1": Row("frames with anything changed, and random ones", "refused and counted; every good message comes"),
    "D2": Row("a good handshake with bytes changed, cut, doubled", "a good client notices nothing; memory < +20 MiB"),
    "D3": Row("configurations with anything changed", "an InvalidConfig or none; no secret in what it says"),
    "D4": Row("floods before and after the handshake", "memory < +30 MiB; idle closed in 3 s + 1 s"),
    "D5": Row("descriptors of shared frames and shared memory, forged", "all refused; the frames of the good one come"),
    "D6": Row("shared frames written at full speed, readers delayed, programs killed at any moment", "0 torn"),
    "E1": Row("a full disk, no descriptors, no memory left", "an error that says so; goes on when there is room again"),
    "E2": Row("8 threads on one publisher; signals; forks", "no torn message, no EINTR; an error in the child"),
    "F1": Row("programs killed and stopped, connections broken, every 2 s", "in order, nothing twice; no growth"),
    "F2": Row(
        "start, stop, kill, publish, pause, revoke, allow in any order, against a model",
        "nobody unlisted, nothing twice, in order, loss counted",
    ),
    "F3": Row(
        "every order of the steps of a writer and readers of shared frames, each killed at any, in a model",
        "0 torn; without any one of the rules there are",
    ),
}
