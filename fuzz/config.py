"""Any bytes as a configuration: it means something or is an InvalidConfig, and no secret is in what it says.

Run by `make fuzz`; opens nothing.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import atheris

with atheris.instrument_imports(include=["eis.msgbus"]):
    from eis.msgbus import InvalidConfig, keys
    from eis.msgbus._config import Config, load
    from eis.msgbus._config.entries import Entry, Fixed

PAIR = keys.KeyPair("0b3m7u%=R09EJx!ZJ[owXMXc&^0MAA[UY>k@9lAw", "yK1Z$fc-(yt+D)6V?hCFJk)#oLNBfIu9fYP!7OU@")
TYPES = ("zmq_tcp", "zmq_ipc", "memory")
NAMES = (*Fixed.__struct_fields__, *Entry.__struct_fields__, "", "camera1", "echo", "file", "env")
VALUES: tuple[Any, ...] = (
    *(PAIR.public, "127.0.0.1", "*", "viewer", "root", "/tmp", 3000, 0, 1, True, False, None, 2**63),  # noqa: S108
    *([], {}, [PAIR.public], {"viewer": PAIR.public}, {"file": "/does/not/exist"}, {"env": "DOES_NOT_EXIST"}),
)


def value_of(provider: Any, depth: int) -> Any:
    """Return a value of JSON, and some that are none."""
    kind = provider.ConsumeIntInRange(0, 7 if depth else 5)
    if kind < 3:
        return provider.PickValueInList(list(VALUES))
    if kind == 3:
        return provider.ConsumeInt(8)
    if kind == 4:
        return provider.ConsumeUnicode(60)
    if kind == 5:
        return provider.ConsumeFloat()
    if kind == 6:
        return [value_of(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 3))]
    return object_of(provider, depth - 1)


def object_of(provider: Any, depth: int) -> dict[Any, Any]:
    """Return an object with some known keys and some others."""
    result = {}
    for _ in range(provider.ConsumeIntInRange(0, 8)):
        known = provider.ConsumeIntInRange(0, 9)
        key = provider.PickValueInList(list(NAMES)) if known else provider.ConsumeUnicode(20)
        secret = str(key).endswith("secret_key") and provider.ConsumeBool()
        result[key] = PAIR.secret if secret else value_of(provider, depth)
    return result


def check(data: bytes) -> None:
    """Ask a configuration everything that it can be asked; the bytes themselves hold no secret."""
    if PAIR.secret.encode() in data:
        return
    provider = atheris.FuzzedDataProvider(data)
    config = {"type": provider.PickValueInList(list(TYPES)), **object_of(provider, 3)}
    ask(config)
    with contextlib.suppress(ValueError, RecursionError):
        ask(json.loads(data))


def ask(config: Any) -> None:
    """Ask what each endpoint would; what is said holds no secret."""
    try:
        checked = Config(load(config))
    except InvalidConfig as error:
        look_at(f"{error} {error!r}")
        return
    questions: list[Callable[[], object]] = [checked.directory, checked.tcp_publisher]
    for question in (checked.users, checked.socket_file, checked.brokered_ipc, checked.tcp_client, checked.tcp_service):
        questions += [partial(question, name) for name in ("", "camera1", "echo")]
    for each in questions:
        try:
            look_at(repr(each()))
        except InvalidConfig as error:
            look_at(f"{error} {error!r}")


def look_at(said: str) -> None:
    """See that no secret is in it."""
    assert PAIR.secret not in said


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
