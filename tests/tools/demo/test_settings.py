import msgspec
import pytest

from eis.msgbus import keys
from eis.msgbus.tools.demo.messages import FRAMES, RESULTS, SNAPSHOT
from eis.msgbus.tools.demo.settings import Options, Settings, for_each_role, is_device


def test_frames_share_a_directory_when_they_travel_over_ipc() -> None:
    told = for_each_role(Options(), "/some/where")
    assert told["ingestion"].frames == told["analytics"].frames == {"type": "zmq_ipc", "socket_dir": "/some/where"}


def test_frames_meet_at_a_port_when_they_travel_over_tcp() -> None:
    told = for_each_role(Options(tcp=True), "/some/where")
    assert told["ingestion"].frames["zmq_tcp_publish"] == told["analytics"].frames[FRAMES]


def test_results_and_snapshots_are_for_one_client_who_knows_the_server() -> None:
    told = for_each_role(Options(), "/some/where")
    server, client = told["analytics"].results, told["viewer"].results
    assert server["zmq_tcp_publish"]["port"] == client[RESULTS]["port"] != client[SNAPSHOT]["port"]
    for place in (client[RESULTS], client[SNAPSHOT]):
        assert keys.public_key(place["client_secret_key"]) == place["client_public_key"]
        assert server["allowed_clients"] == [place["client_public_key"]]
        assert place["server_public_key"] == keys.public_key(server[SNAPSHOT]["server_secret_key"])


def test_keys_are_new_each_time() -> None:
    first, second = (for_each_role(Options(), "/some/where")["viewer"].results for _ in range(2))
    assert first[RESULTS]["client_secret_key"] != second[RESULTS]["client_secret_key"]


def test_nobody_is_told_the_secret_of_another() -> None:
    told = for_each_role(Options(), "/some/where")
    server = told["analytics"].results[SNAPSHOT]["server_secret_key"]
    client = told["viewer"].results[SNAPSHOT]["client_secret_key"]
    texts = {role: msgspec.json.encode(settings).decode() for role, settings in told.items()}
    assert [role for role, text in texts.items() if server in text] == ["analytics"]
    assert [role for role, text in texts.items() if client in text] == ["viewer"]


def test_secrets_are_in_no_repr() -> None:
    settings = for_each_role(Options(), "/some/where")["viewer"]
    assert settings.results[RESULTS]["client_secret_key"] not in repr(settings)
    assert "/some/where" in repr(settings)


def test_settings_are_the_same_when_they_went_through_a_pipe() -> None:
    settings = for_each_role(Options("film.mp4", 2.5, tcp=True, output="left"), "/some/where")["analytics"]
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


@pytest.mark.parametrize(("source", "expected"), [("0", True), ("/dev/video2", True), ("0.mp4", False), ("a", False)])
def test_a_source_is_a_device_when_it_is_a_number_or_a_device_file(source: str, expected: bool) -> None:
    assert is_device(source) is expected
