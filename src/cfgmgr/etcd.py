"""Settings in etcd, over gRPC. Does not know what they mean.

etcd's JSON gateway will not do: it does not know a client by its certificate, which is how etcd decides what an
application may read in production.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from cfgmgr.etcd_messages import RangeRequest, RangeResponse, WatchRequest, WatchResponse
from cfgmgr.store import Changed, tell
from eis.msgbus.interfaces import InvalidConfig

__all__ = ["EtcdStore", "address_of", "credentials_of"]

_log = logging.getLogger("cfgmgr")
_PATIENCE = 10.0  # seconds for an answer; etcd may still be starting
_PAUSES = (0.2, 1.0, 5.0)  # seconds before a watch that was lost is made again; the last one from then on
_PUT = 0
_OPTIONS = (  # a server that is gone without a word is noticed; etcd takes no more than one sign of life in 5 seconds
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", -1),
)


def address_of(environment: Mapping[str, str]) -> str:
    """Return where etcd is: `ETCD_ENDPOINT`, or else `ETCD_HOST` and `ETCD_CLIENT_PORT`."""
    host = environment.get("ETCD_HOST") or "localhost"
    host = f"[{host}]" if ":" in host else host
    return environment.get("ETCD_ENDPOINT") or f"{host}:{environment.get('ETCD_CLIENT_PORT') or 2379}"


def credentials_of(environment: Mapping[str, str], app: str) -> Any:
    """Return what proves to etcd who this application is, and to it who etcd is.

    Raises:
        InvalidConfig: one of the three files cannot be read.
    """
    files = {
        "CONFIGMGR_CACERT": "/run/secrets/rootca/cacert.pem",
        "CONFIGMGR_KEY": f"/run/secrets/{app}/{app}_client_key.pem",
        "CONFIGMGR_CERT": f"/run/secrets/{app}/{app}_client_certificate.pem",
    }
    return grpc.ssl_channel_credentials(
        *(_content(variable, environment.get(variable) or path) for variable, path in files.items())
    )


def _content(variable: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}", variable) from error


class EtcdStore:
    """Read keys, and follow their changes, under a common prefix."""

    def __init__(self, address: str, credentials: Any, prefix: str) -> None:
        self._address = address
        self._prefix = prefix
        self._closed = threading.Event()
        self._channel = (
            grpc.secure_channel(address, credentials, _OPTIONS)
            if credentials
            else grpc.insecure_channel(address, _OPTIONS)
        )
        self._range = self._channel.unary_unary(
            "/etcdserverpb.KV/Range", RangeRequest.SerializeToString, RangeResponse.FromString
        )
        self._watch = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch", WatchRequest.SerializeToString, WatchResponse.FromString
        )
        self._revision = 0  # of the first answer: whoever watches has not seen what changed since

    def get(self, key: str) -> str | None:
        """Return the value of a key, None if there is none.

        Raises:
            InvalidConfig: etcd cannot be reached, or refuses.
        """
        return self._values(self._asked(self._key(key))).get(key)

    def get_prefix(self, prefix: str) -> dict[str, str]:
        """Return the values of all keys that begin with `prefix`.

        Raises:
            InvalidConfig: etcd cannot be reached, or refuses.
        """
        key = self._key(prefix)
        return self._values(self._asked(key, _end(key)))

    def watch(self, key: str, changed: Changed, *, prefix: bool = False) -> None:
        """Call `changed` from a thread for each change since the first answer, in their order; deletions are none.

        When the connection was lost, it goes on with the change after the last one. If etcd has forgotten that one by
        then (it was compacted, or its data are new), the values of now are what changed.
        """
        raw = self._key(key)
        following = _Following(raw, _end(raw) if prefix else b"", changed, self._revision + 1)
        threading.Thread(target=self._follow, args=(following,), name="cfgmgr-etcd", daemon=True).start()

    def close(self) -> None:
        """End the threads of all watches."""
        self._closed.set()
        self._channel.close()

    def _key(self, key: str) -> bytes:
        return (self._prefix + key).encode()

    def _asked(self, key: bytes, end: bytes = b"") -> Any:
        request = RangeRequest(key=key, range_end=end)
        try:
            answer = self._range(request, timeout=_PATIENCE, wait_for_ready=True)
        except grpc.RpcError as error:
            where = f"etcd {self._address}"
            raise InvalidConfig(f"cannot read {key.decode()!r}: {error.details()}", where) from error
        self._revision = self._revision or answer.header.revision
        return answer

    def _values(self, answer: Any) -> dict[str, str]:
        return {self._name(kv.key): _text(kv.value) for kv in answer.kvs}

    def _name(self, key: bytes) -> str:
        return key.decode(errors="replace").removeprefix(self._prefix)

    # what follows runs in the thread of a watch

    def _follow(self, following: _Following) -> None:
        failures = 0
        while not self._closed.is_set():
            before = following.next
            try:
                self._listen(following)
            except (grpc.RpcError, InvalidConfig) as error:
                if not self._closed.is_set():
                    problem = error.details() if isinstance(error, grpc.RpcError) else error
                    following.warn("the watch of %s is made again: %s", str(problem))
            except ValueError:  # the channel was closed in between
                return
            failures = 0 if following.next > before else failures + 1
            self._closed.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _listen(self, following: _Following) -> None:
        """Take what one connection brings, until it breaks or etcd ends the watch."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        requests.put(WatchRequest(create_request=following.request))
        answers = self._watch(iter(requests.get, None), wait_for_ready=True)
        try:
            for answer in answers:
                if answer.compact_revision or (answer.created and answer.header.revision < following.next - 1):
                    self._catch_up(following, anew=not answer.compact_revision)
                    return
                if answer.canceled:
                    following.warn("etcd ends the watch of %s: %s", answer.cancel_reason)
                    return
                following.warned.clear()  # it is well: what happens from now on is something new
                for event in answer.events:
                    self._tell(following, event.kv, put=event.type == _PUT)
        finally:
            requests.put(None)
            answers.cancel()

    def _catch_up(self, following: _Following, *, anew: bool) -> None:
        """Take the values of now; all of them where the revisions began `anew`, which says that etcd lost its data."""
        since = 0 if anew else following.next
        answer = self._asked(following.key, following.end)
        for kv in sorted(answer.kvs, key=lambda kv: int(kv.mod_revision)):
            if kv.mod_revision >= since:
                self._tell(following, kv)
        following.next = answer.header.revision + 1

    def _tell(self, following: _Following, kv: Any, *, put: bool = True) -> None:
        following.next = kv.mod_revision + 1
        if put and not self._closed.is_set():
            tell(following.changed, self._name(kv.key), _text(kv.value))


class _Following:
    """Remember which change comes next to one watch, and what its user was warned of."""

    def __init__(self, key: bytes, end: bytes, changed: Changed, first: int) -> None:
        self.key = key
        self.end = end
        self.changed = changed
        self.next = first
        self.warned: set[str] = set()  # for which reasons, since it was last well

    def warn(self, message: str, reason: str) -> None:
        """Warn of what happens, once for each reason: a watch that is refused for good is tried again for ever."""
        level = logging.DEBUG if reason in self.warned else logging.WARNING
        self.warned.add(reason)
        _log.log(level, message, self.key.decode(), reason)

    @property
    def request(self) -> dict[str, Any]:
        return {"key": self.key, "range_end": self.end, "start_revision": self.next}


def _end(prefix: bytes) -> bytes:
    """Return the first key that does not begin with `prefix` any more."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b"\0"


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
