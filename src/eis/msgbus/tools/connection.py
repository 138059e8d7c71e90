"""Where a command connects or listens: options in, a configuration of the bus out. Opens nothing but key files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from eis.msgbus import keys

__all__ = ["Connection", "KeysOption", "ServerKeyOption", "tcp_address"]

_ConfigOption = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="The configuration: a JSON or TOML file.")
]
_AddressOption = Annotated[
    str | None,
    typer.Option("-a", "--address", metavar="ADDRESS", help="Instead of -c: ipc://DIRECTORY/FILE or tcp://HOST:PORT."),
]
KeysOption = Annotated[
    Path | None,
    typer.Option("--keys", metavar="PATH", help="With tcp://: the own key pair, as `msgbus keys new PATH` made it."),
]
ServerKeyOption = Annotated[
    str | None,
    typer.Option(
        "--server-key", metavar="FILE|KEY", help="With tcp:// and --keys, to connect: the server's public key."
    ),
]


@dataclasses.dataclass(frozen=True)
class Connection:
    """Hold what was said about the other side, and make configurations of it."""

    config: _ConfigOption = None
    address: _AddressOption = None
    keys: KeysOption = None
    server_key: ServerKeyOption = None

    def __post_init__(self) -> None:
        if (self.config is None) is (self.address is None):
            raise typer.BadParameter("expected one of the two", param_hint="-c FILE or -a ADDRESS")
        given = {"--keys": self.keys, "--server-key": self.server_key}
        for option, value in given.items():
            if value is not None and not (self.address or "").startswith("tcp://"):
                raise typer.BadParameter("goes with an ADDRESS of tcp:// only", param_hint=option)

    def publisher(self, *topics: str) -> dict[str, Any] | Path:
        """Return the configuration of publishers of `topics`."""
        return self._source(["zmq_tcp_publish"], topics, self._server_keys)

    def service(self, name: str) -> dict[str, Any] | Path:
        """Return the configuration of the service `name`."""
        return self._source([name], [name], self._server_keys)

    def client(self, *names: str) -> dict[str, Any] | Path:
        """Return the configuration of subscribers or requesters of `names`."""
        return self._source(names, names, self._client_keys)

    def _source(self, entries: Sequence[str], names: Sequence[str], keys_of_it: Any) -> dict[str, Any] | Path:
        if self.address is None:
            assert self.config is not None
            return self.config
        if self.address.startswith("tcp://"):
            return {"type": "zmq_tcp"} | dict.fromkeys(entries, tcp_address(self.address) | keys_of_it())
        return {"type": "zmq_ipc"} | _socket_file(self.address, names)

    def _server_keys(self) -> dict[str, str]:
        if self.server_key is not None:
            raise typer.BadParameter("is for the side that connects; this one listens", param_hint="--server-key")
        return {} if self.keys is None else {"server_secret_key": keys.read_secret(_secret_file(self.keys))}

    def _client_keys(self) -> dict[str, str]:
        if self.keys is None and self.server_key is None:
            return {}
        if self.keys is None or self.server_key is None:
            raise typer.BadParameter("expected both or none", param_hint="--keys and --server-key")
        secret = keys.read_secret(_secret_file(self.keys))
        return {
            "server_public_key": _public(self.server_key),
            "client_public_key": keys.public_key(secret),
            "client_secret_key": secret,
        }


def _secret_file(path: Path) -> Path:
    return path if path.suffix == ".secret" else Path(f"{path}.secret")


def _public(text: str) -> str:
    """Return the key that `text` is, or that of the file which it names."""
    return text if len(text) == keys.LENGTH and not Path(text).exists() else keys.read_public(text)


def _socket_file(address: str, names: Sequence[str]) -> dict[str, Any]:
    kind, _, path = address.partition("://")
    directory, slash, file = path.rpartition("/")
    if kind != "ipc" or not file:
        raise _wrong(address, "ipc://DIRECTORY/FILE or tcp://HOST:PORT")
    return {"socket_dir": directory or slash or "."} | {name: {"socket_file": file} for name in names}


def tcp_address(address: str) -> dict[str, Any]:
    """Return host and port of `tcp://HOST:PORT`."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _wrong(address, "tcp://HOST:PORT") from None
    if parts.scheme != "tcp" or not (host and port) or parts.path or parts.username is not None:
        raise _wrong(address, "tcp://HOST:PORT")
    return {"host": host, "port": port}


def _wrong(address: str, expected: str) -> typer.BadParameter:
    return typer.BadParameter(f"expected {expected}, got {address!r}", param_hint="--address")
