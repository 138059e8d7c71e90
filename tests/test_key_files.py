"""Keys in files and environment variables: written whole, read only where nobody else can, never shown."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus._config import Config, load
from eis.msgbus._config.references import References
from eis.msgbus.exceptions import InvalidConfig, MessageBusError

PAIR, OTHER = keys.new_key_pair(), keys.new_key_pair()
ADDRESS: dict[str, Any] = {"host": "127.0.0.1", "port": 3000}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The path of a pair, without its endings."""
    keys.write_pair(PAIR, tmp_path / "camera")
    return tmp_path / "camera"


@pytest.fixture
def secret(written: Path) -> Path:
    return Path(f"{written}.secret")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    yield
    os.umask(before)


def refusal(read: Callable[[], object]) -> InvalidConfig:
    """Return how it is refused; nothing that was read is told."""
    with pytest.raises(InvalidConfig) as caught:
        read()
    chain = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert not any(key[:10] in chain for key in (PAIR.secret, OTHER.secret))
    return caught.value


# Written.


@pytest.mark.parametrize("value", [0o000, 0o022, 0o077])
def test_pair_is_written_so_that_only_its_user_reads_the_secret(tmp_path: Path, value: int) -> None:
    with umask(value):
        keys.write_pair(PAIR, tmp_path / "camera")
    assert mode(tmp_path / "camera.secret") == 0o600
    assert mode(tmp_path / "camera.public") == 0o644 & ~value
    assert (tmp_path / "camera.secret").read_bytes() == f"{PAIR.secret}\n".encode()
    assert (tmp_path / "camera.public").read_bytes() == f"{PAIR.public}\n".encode()


@pytest.mark.parametrize("make", [str, Path])
def test_pair_is_read_as_it_was_written(written: Path, make: type[Any]) -> None:
    assert keys.read_pair(make(written)) == PAIR
    assert keys.read_public(make(f"{written}.public")) == PAIR.public
    assert keys.read_secret(make(f"{written}.secret")) == PAIR.secret


@pytest.mark.parametrize(("there", "other"), [("secret", "public"), ("public", "secret")])
def test_pair_is_not_written_over_another(tmp_path: Path, there: str, other: str) -> None:
    (tmp_path / f"camera.{there}").write_text("precious")
    with pytest.raises(MessageBusError, match=rf"cannot make .*camera\.{there}: File exists"):
        keys.write_pair(PAIR, tmp_path / "camera")
    assert (tmp_path / f"camera.{there}").read_text() == "precious"
    assert not (tmp_path / f"camera.{other}").exists()


def test_pair_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "camera.secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MessageBusError, match="File exists"):
        keys.write_pair(PAIR, tmp_path / "camera")
    assert not (tmp_path / "elsewhere").exists()


def test_pair_is_not_written_where_the_keys_do_not_belong_together(tmp_path: Path) -> None:
    error = refusal(lambda: keys.write_pair(keys.KeyPair(OTHER.public, PAIR.secret), tmp_path / "camera"))
    assert str(error) == "config public: expected the public key of the secret, got another"
    assert not list(tmp_path.iterdir())


_ON_A_FULL_DISK = """
import resource, sys
from eis.msgbus import keys

resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
try:
    keys.write_pair(keys.new_key_pair(), sys.argv[1])
except keys.MessageBusError as error:
    print(error)
"""


def test_no_half_file_is_left_when_the_disk_takes_no_more(tmp_path: Path) -> None:
    program = [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path / "camera")]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.stderr) == (f"cannot write {tmp_path}/camera.secret: File too large\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("problem", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), MessageBusError)],
    ids=("signal", "full"),
)
def test_no_file_is_left_when_writing_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, raised: type[BaseException]
) -> None:
    def fail(_: int) -> None:
        raise problem

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(raised):
        keys.write_pair(PAIR, tmp_path / "camera")
    assert not list(tmp_path.iterdir())


# Read.


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o620, 0o604, 0o602, 0o601, 0o660, 0o777])
def test_secret_is_refused_when_others_have_rights_to_it(secret: Path, rights: int) -> None:
    secret.chmod(rights)
    error = refusal(lambda: keys.read_secret(secret))
    assert str(error) == f"config {secret}: others have rights to it (mode {rights:04o}): chmod 600 {secret}"


@pytest.mark.parametrize("rights", [0o600, 0o400, 0o700])
def test_secret_is_read_when_nobody_else_has_rights_to_it(secret: Path, rights: int) -> None:
    secret.chmod(rights)
    assert keys.read_secret(secret) == PAIR.secret


def test_secret_is_refused_when_it_is_a_link(secret: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(secret)
    error = refusal(lambda: keys.read_secret(tmp_path / "link"))
    assert str(error) == f"config {tmp_path}/link: it is a link: name the file that it leads to"


def test_secret_is_refused_when_it_becomes_a_link_after_the_look(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(secret)
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)  # noqa: ARG005  # the method's
    assert "cannot read it: Too many levels of symbolic links" in str(
        refusal(lambda: keys.read_secret(tmp_path / "link"))
    )


@needs_root
def test_secret_is_refused_when_another_user_owns_it(secret: Path) -> None:
    os.chown(secret, 12345, 0)
    error = refusal(lambda: keys.read_secret(secret))
    assert str(error) == f"config {secret}: it belongs to user 12345, who can change it: chown 0 {secret}"


@needs_root
def test_secret_of_root_is_read_by_whoever_may_open_it(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert keys.read_secret(secret) == PAIR.secret


@pytest.mark.parametrize("rights", [0o666, 0o602])
def test_public_key_is_refused_when_everybody_may_put_another_in_its_place(written: Path, rights: int) -> None:
    public = Path(f"{written}.public")
    public.chmod(rights)
    error = refusal(lambda: keys.read_public(public))
    assert str(error) == f"config {public}: everybody may change it (mode {rights:04o}): chmod o-w {public}"


def test_public_key_may_be_read_by_all_and_through_a_link(written: Path, tmp_path: Path) -> None:
    Path(f"{written}.public").chmod(0o664)
    (tmp_path / "link").symlink_to(f"{written}.public")
    assert keys.read_public(tmp_path / "link") == PAIR.public


@pytest.mark.parametrize("read", [keys.read_secret, keys.read_public])
@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "got 0 characters"),
        (PAIR.secret[:-1].encode(), "got 39 characters"),
        (PAIR.secret.encode() * 2, "got 80 characters"),
        (PAIR.secret[:-1].encode() + b"~", "got 1 characters outside its alphabet"),
        (PAIR.secret[:-1].encode() + b"\xff", "got 1 characters outside its alphabet"),
        (b"x" * 100_000, "got 1000 characters"),
    ],
    ids=range(6),
)
def test_key_is_refused_when_the_file_holds_something_else(
    tmp_path: Path, read: Callable[[Path], str], content: bytes, got: str
) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    error = refusal(lambda: read(tmp_path / "key"))
    assert str(error) == f"config {tmp_path}/key: expected a key of 40 characters in Z85, {got}"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n"])
def test_key_is_read_whatever_ends_its_line(secret: Path, ending: str) -> None:
    secret.write_bytes(f"{PAIR.secret}{ending}".encode())
    assert keys.read_secret(secret) == PAIR.secret


@pytest.mark.parametrize("read", [keys.read_secret, keys.read_public])
def test_key_is_refused_when_it_is_no_file(tmp_path: Path, read: Callable[[object], str]) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo"):
        error = refusal(lambda path=path: read(path))  # type: ignore[misc]  # mypy knows no default of a lambda
        assert str(error) == f"config {path}: expected a file with a key, got something else"
    error = refusal(lambda: read(tmp_path / "absent"))
    assert str(error) == f"config {tmp_path}/absent: cannot read it: No such file or directory"
    text = str(refusal(lambda: read("a\0b")))
    assert "cannot read it: " in text
    assert "embedded null" in text


def test_pair_is_refused_when_the_files_do_not_belong_together(written: Path) -> None:
    Path(f"{written}.public").write_text(OTHER.public)
    error = refusal(lambda: keys.read_pair(written))
    assert str(error) == f"config {written}.public: expected the public key of {written}.secret, got another"


# References in a configuration.


def test_keys_are_looked_up_wherever_a_key_may_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIEWER", f"{OTHER.public}\n")
    keys.write_pair(PAIR, "camera")
    public, secret, viewer = {"file": "camera.public"}, {"file": "camera.secret"}, {"env": "VIEWER"}
    found = load(
        {
            "type": "zmq_tcp",
            "clients": {"viewer": viewer},
            "allowed_clients": ["viewer", public],
            "zmq_tcp_publish": ADDRESS | {"server_secret_key": secret, "topics": {"a": [public, "viewer"]}},
            "echo": ADDRESS | {"server_secret_key": PAIR.secret, "allowed_clients": [viewer]},
            "camera1": ADDRESS
            | {"server_public_key": [viewer, public], "client_public_key": public, "client_secret_key": secret},
        }
    )
    assert found == {
        "type": "zmq_tcp",
        "clients": {"viewer": OTHER.public},
        "allowed_clients": ["viewer", PAIR.public],
        "zmq_tcp_publish": ADDRESS | {"server_secret_key": PAIR.secret, "topics": {"a": [PAIR.public, "viewer"]}},
        "echo": ADDRESS | {"server_secret_key": PAIR.secret, "allowed_clients": [OTHER.public]},
        "camera1": ADDRESS
        | {
            "server_public_key": [OTHER.public, PAIR.public],
            "client_public_key": PAIR.public,
            "client_secret_key": PAIR.secret,
        },
    }
    Config(found)


@pytest.mark.parametrize("path", ["keys/camera.secret", "./keys/../keys/camera.secret", None])
def test_file_of_a_key_is_found_beside_the_file_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    (tmp_path / "keys").mkdir()
    keys.write_pair(PAIR, tmp_path / "keys" / "camera")
    named = path or str(tmp_path / "keys" / "camera.secret")
    config = {"type": "zmq_tcp", "zmq_tcp_publish": {"server_secret_key": {"file": named}}}
    (tmp_path / "bus.json").write_text(json.dumps(config))
    monkeypatch.chdir("/")
    assert load(tmp_path / "bus.json")["zmq_tcp_publish"]["server_secret_key"] == PAIR.secret


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"file": "absent"}, "absent: cannot read it: No such file or directory"),
        ({"file": "loose"}, "loose: others have rights to it (mode 0644): chmod 600 loose"),
        ({"file": "short"}, "short: expected a key of 40 characters in Z85, got 20 characters"),
        ({"env": "ABSENT"}, "environment variable ABSENT: expected a key, and it is not set"),
        ({"env": "\udb00"}, "environment variable \udb00: expected a key, and it is not set"),  # half a character
        ({"env": "SHORT"}, "environment variable SHORT: expected a key of 40 characters in Z85, got 20 characters"),
        *(
            (value, 'expected a key, {"file": "PATH"} or {"env": "NAME"}, got another object')
            for value in ({}, {"file": 5}, {"env": None}, {"file": "a", "env": "A"}, {"path": "a"}, {"file": "a", 5: 5})
        ),
    ],
)
def test_reference_that_leads_to_no_key_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: dict[Any, Any], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHORT", PAIR.secret[:20])
    Path("loose").write_text(PAIR.secret)
    Path("loose").chmod(0o644)
    Path("short").write_text(PAIR.secret[:20])
    Path("short").chmod(0o600)
    error = refusal(lambda: load({"type": "zmq_tcp", "zmq_tcp_publish": {"server_secret_key": value}}))
    assert (error.where, error.problem) == ("zmq_tcp_publish.server_secret_key", text)


def test_reference_in_a_list_is_named_by_its_number(tmp_path: Path) -> None:
    config = {"type": "zmq_tcp", "zmq_tcp_publish": {"topics": {"a": [OTHER.public, {"file": str(tmp_path / "x")}]}}}
    assert refusal(lambda: load(config)).where == "zmq_tcp_publish.topics.a[1]"


def test_file_of_a_public_key_needs_no_tight_mode(written: Path) -> None:
    config = {"type": "zmq_tcp", "clients": {"viewer": {"file": f"{written}.public"}}}
    assert load(config)["clients"] == {"viewer": PAIR.public}


def test_transport_of_another_package_gets_its_configuration_as_it_is() -> None:
    config = {"type": "pigeon", "allowed_clients": [{"file": "absent"}]}
    assert load(config) is config


def test_keys_that_are_given_otherwise_are_never_in_what_is_said(
    written: Path, opened_once: Callable[[dict[str, Any]], str]
) -> None:
    entry = ADDRESS | {"server_secret_key": {"file": f"{written}.secret"}}
    said = opened_once({"type": "zmq_tcp", "zmq_tcp_publish": entry, "allowed_clients": []})
    assert PAIR.secret not in said


@pytest.fixture
def opened_once(caplog: pytest.LogCaptureFixture, tcp_port: int) -> Callable[[dict[str, Any]], str]:
    """`opened_once(config)`: all that is logged and shown while its publisher is open."""

    def said(config: dict[str, Any]) -> str:
        config["zmq_tcp_publish"]["port"] = tcp_port
        with caplog.at_level(0), mb.MsgbusContext(config) as bus:
            publisher = bus.new_publisher("camera1")
            return f"{bus!r} {publisher!r} {bus._transport._publishers!r} {vars(bus._transport)!r} {caplog.text}"  # type: ignore[attr-defined]  # the transport's own

    return said


_anything = st.recursive(
    st.none() | st.text(max_size=5) | st.integers() | st.just({"file": "/absent"}) | st.just({"env": "ABSENT"}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("file", "env", "clients", "topics", 5, "x_key")), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(("clients", "allowed_clients", "zmq_tcp_publish", "camera1", "type")), _anything)
)
def test_anything_is_resolved_or_an_invalid_config(config: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidConfig):
        assert References(Path()).resolved(config).keys() == config.keys()
