import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.tools.output import Output
from tests.tools.process import COMMAND, DEADLINE, ENVIRONMENT, msgbus, started
from tests.tools.repeating import repeating

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def published(folder: Path, count: int, *arguments: str | Path, stdin: str = "") -> list[dict[str, object]]:
    """What a subscriber prints of what `msgbus pub ARGUMENTS` publishes."""
    with started(folder, "sub", "camera1", "-c", "bus.json", "-n", str(count)) as subscriber:
        assert msgbus(folder, "pub", "camera1", "-c", "bus.json", *arguments, stdin=stdin) == (0, "", "")
        status, out, err = subscriber.ended()
    assert (status, err) == (0, "")
    return lines(out)


def test_metadata_arrive_when_given_as_arguments(folder: Path) -> None:
    (message,) = published(folder, 1, "frame=1", "label=scratch", "ok=true", '{"box": [1, 2.5]}', "size=08")
    assert message == {
        "name": "camera1",
        "metadata": {"frame": 1, "label": "scratch", "ok": True, "box": [1, 2.5], "size": "08"},
        "blobs": [],
    }


def test_each_line_is_a_message_when_read_from_stdin(folder: Path) -> None:
    found = published(folder, 2, "-", stdin='{"frame": 1}\n\n{"frame": 2}\n')
    assert [message["metadata"] for message in found] == [{"frame": 1}, {"frame": 2}]


def test_each_line_is_a_message_when_typed_in_a_terminal(folder: Path) -> None:
    typed, terminal = pty.openpty()
    with started(folder, "sub", "camera1", "-c", "bus.json", "-n", "2") as subscriber:
        command = [*COMMAND, "pub", "camera1", "-", "-c", "bus.json"]
        publishing = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        os.write(typed, b'{"frame": 1}\n{"frame": 2}\n')
        status, out, err = subscriber.ended()  # each is published as soon as it is typed
        os.write(typed, b"\x04")
        assert publishing.wait(DEADLINE) == 0
    os.close(typed)
    assert (status, err) == (0, "")
    assert [message["metadata"] for message in lines(out)] == [{"frame": 1}, {"frame": 2}]


def test_each_object_is_a_message_when_a_file_has_a_list(folder: Path) -> None:
    (folder / "frames.json").write_text('[{"frame": 1}, {"frame": 2}]')
    (folder / "last.json").write_text('{"frame": 3}')
    found = published(folder, 5, "-f", "frames.json", "-f", "last.json", "-n", "5", "--rate", "1000")
    assert [message["metadata"] for message in found] == [{"frame": number} for number in (1, 2, 3, 1, 2)]


def test_no_more_lines_are_published_when_a_count_is_given(folder: Path) -> None:
    found = published(folder, 2, "-", "-n", "2", stdin='{"frame": 1}\n{"frame": 2}\n{"frame": 3}\n')
    assert [message["metadata"] for message in found] == [{"frame": 1}, {"frame": 2}]


def test_an_image_is_saved_as_it_was_when_sent_as_a_blob(folder: Path) -> None:
    (folder / "frame.png").write_bytes(PNG)
    (folder / "empty").write_bytes(b"")
    with started(folder, "sub", "camera1", "-c", "bus.json", "-n", "1", "--save", "frames") as subscriber:
        arguments = ("frame=1", "-b", "frame.png", "-b", "empty")
        assert msgbus(folder, "pub", "camera1", *arguments, "-c", "bus.json") == (0, "", "")
        (message,) = lines(subscriber.ended()[1])
    assert message["blobs"] == [len(PNG), 0]
    assert message["files"] == ["frames/camera1-000001-0.png", "frames/camera1-000001-1.bin"]
    assert (folder / "frames" / "camera1-000001-0.png").read_bytes() == PNG


def test_each_image_is_a_message_with_its_encoding_when_a_directory_is_given(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "2.jpg").write_bytes(b"\xff\xd8\xff" + bytes(10))
    (folder / "images" / "1.png").write_bytes(PNG)
    (folder / "last.png").write_bytes(PNG)
    (folder / "mask").write_bytes(b"mask")
    images = ("-i", "images", "-i", "last.png", "-b", "mask", "station=3", "--rate", "1000", "-n", "4")
    found = published(folder, 4, *images)
    assert [message["metadata"] for message in found] == [
        {"encoding_type": encoding, "station": 3} for encoding in ("png", "jpeg", "png", "png")
    ]
    assert [message["blobs"] for message in found] == [[len(PNG), 4], [13, 4], [len(PNG), 4], [len(PNG), 4]]


def test_a_blob_stays_in_the_directory_when_its_topic_leads_out_of_it(folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text()) | {"": {"socket_file": "all"}}
    (folder / "bus.json").write_text(json.dumps(config))
    with (
        started(folder, "sub", "", "-c", "bus.json", "-n", "1", "--save", "frames") as subscriber,
        mb.MsgbusContext(config) as bus,
        bus.new_publisher("../../x") as publisher,
    ):
        publisher.wait_for_subscribers(1, timeout=DEADLINE * 1000)
        publisher.publish(b"1")
        (message,) = lines(subscriber.ended()[1])
    assert message["files"] == ["frames/______x-000001-0.bin"]
    assert [path.name for path in (folder / "frames").iterdir()] == ["______x-000001-0.bin"]


def test_a_file_is_not_written_over_when_it_is_there(folder: Path) -> None:
    (folder / "frames").mkdir()
    (folder / "frames" / "camera1-000001-0.bin").write_text("mine")
    with started(folder, "sub", "camera1", "-c", "bus.json", "--save", "frames") as subscriber:
        assert msgbus(folder, "pub", "camera1", "-b", "bus.json", "-c", "bus.json") == (0, "", "")
        assert subscriber.ended() == (
            1,
            "",
            "msgbus: cannot write frames/camera1-000001-0.bin: File exists\n",
        )
    assert (folder / "frames" / "camera1-000001-0.bin").read_text() == "mine"


def test_topics_are_told_apart_when_a_prefix_is_subscribed_to(folder: Path) -> None:
    address = f"ipc://{folder}/sockets/all"
    with started(folder, "sub", "camera", "-a", address, "-n", "2") as subscriber:
        for topic in ("camera1", "camera2"):
            assert msgbus(folder, "pub", topic, "n=1", "-a", address) == (0, "", "")
        found = lines(subscriber.ended()[1])
    assert [message["name"] for message in found] == ["camera1", "camera2"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_messages_arrive_when_both_sides_name_an_address(host: str, folder: Path, tcp_port: int) -> None:
    address = f"tcp://{host}:{tcp_port}"
    with started(folder, "sub", "camera1", "-a", address, "-n", "1") as subscriber:
        assert msgbus(folder, "pub", "camera1", "n=1", "-a", address)[0] == 0
        assert lines(subscriber.ended()[1])[0]["metadata"] == {"n": 1}


def test_messages_arrive_when_both_sides_have_keys(folder: Path, tcp_port: int) -> None:
    for name in ("camera", "viewer"):
        keys.write_pair(keys.new_key_pair(), folder / name)
    address = f"tcp://127.0.0.1:{tcp_port}"
    own = ("--keys", "viewer.secret", "--server-key", "camera.public")
    with started(folder, "sub", "camera1", "-a", address, "-n", "1", *own) as subscriber:
        assert msgbus(folder, "pub", "camera1", "n=1", "-a", address, "--keys", "camera") == (0, "", "")
        assert subscriber.ended()[0::2] == (0, "")


def test_a_subscriber_says_why_it_is_refused_when_it_has_the_wrong_key(folder: Path, tcp_port: int) -> None:
    for name in ("camera", "viewer"):
        keys.write_pair(keys.new_key_pair(), folder / name)
    address = f"tcp://127.0.0.1:{tcp_port}"
    with (
        started(folder, "pub", "camera1", "n=1", "-a", address, "--keys", "camera"),
        started(
            folder, "sub", "camera1", "-a", address, "--keys", "viewer", "--server-key", "viewer.public"
        ) as refused,
    ):
        status, out, err = refused.ended()
    assert (status, out) == (1, "")
    assert "it breaks the handshake off: server_public_key is another server's" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", [["pub", "camera1", "n=1"], ["sub", "camera1", "--server-key", "camera.public"]])
def test_a_secret_is_refused_and_not_printed_when_others_may_read_it(command: list[str], folder: Path) -> None:
    pair = keys.new_key_pair()
    (folder / "camera.secret").write_text(pair.secret)  # mode 0644: refused
    (folder / "camera.secret").chmod(0o644)
    status, out, err = msgbus(folder, *command, "-a", "tcp://127.0.0.1:1", "--keys", "camera")
    assert (status, out) == (2, "")
    assert "chmod 600 camera.secret" in err
    assert pair.secret not in err


def test_the_publisher_gives_up_when_nobody_subscribes(folder: Path) -> None:
    status, out, err = msgbus(folder, "pub", "camera1", "n=1", "-c", "bus.json", "--wait", "0.1")
    assert (status, out) == (1, "")
    assert err == "msgbus: publisher camera1: expected 1 subscriber within 100 ms\n"


def test_the_publisher_does_not_wait_when_told_so(folder: Path) -> None:
    assert msgbus(folder, "pub", "camera1", "n=1", "-c", "bus.json", "--wait", "0") == (0, "", "")


def test_lost_messages_are_told_when_a_subscriber_does_not_read(folder: Path) -> None:
    (folder / "blob").write_bytes(bytes(8 * 2**20))
    config = json.loads((folder / "bus.json").read_text()) | {"shared_memory": False}  # there frames are overtaken
    (folder / "bus.json").write_text(json.dumps(config))
    with mb.MsgbusContext(config) as bus, bus.new_subscriber("camera1") as subscriber:
        status, _, err = msgbus(folder, "pub", "camera1", "-b", "blob", "-n", "200", "-c", "bus.json")
        assert subscriber.recv(timeout=5000).meta_data == {}
    assert status == 1
    assert "messages did not reach a subscriber whose queue was full" in err


def test_lost_messages_are_told_when_the_output_is_read_too_slowly(folder: Path) -> None:
    config = json.loads((folder / "bus.json").read_text()) | {"queue_bytes": 1000}
    (folder / "bus.json").write_text(json.dumps(config))
    with (
        started(folder, "sub", "camera1", "-c", "bus.json") as subscriber,
        mb.MsgbusContext(config) as bus,
        bus.new_publisher("camera1") as publisher,
    ):
        publisher.wait_for_subscribers(1, timeout=DEADLINE * 1000)
        for _ in range(3000):  # more than the pipe and the queues hold
            publisher.publish({"text": "x" * 1000})
        with repeating(lambda: publisher.publish({"end": True}), 0.01):  # a queue that is full still leaves it out
            while (line := subscriber.line()) and '"end"' not in line:
                pass
        status, _, err = subscriber.interrupted()
    assert status == 130
    assert re.fullmatch(r"msgbus: [1-9]\d* messages were lost: they came faster than they could be shown\n", err)


def test_the_subscriber_gives_up_when_nothing_comes(folder: Path) -> None:
    status, out, err = msgbus(folder, "sub", "camera1", "-c", "bus.json", "--timeout", "0.1")
    assert (status, out, err) == (1, "", "msgbus: subscriber camera1: no message within 100 ms\n")


def test_the_subscriber_ends_quietly_when_interrupted(folder: Path) -> None:
    with started(folder, "sub", "camera1", "-c", "bus.json") as subscriber:
        assert msgbus(folder, "pub", "camera1", "n=1", "-c", "bus.json") == (0, "", "")
        assert json.loads(subscriber.line())["metadata"] == {"n": 1}
        assert subscriber.interrupted() == (130, "", "")


def test_the_subscriber_ends_quietly_when_its_reader_has_enough(folder: Path) -> None:
    with (
        started(folder, "sub", "camera1", "-c", "bus.json") as subscriber,
        started(folder, "pub", "camera1", "n=1", "-n", "0", "--rate", "50", "-c", "bus.json"),
    ):
        assert subscriber.line()
        assert subscriber.process.stdout is not None
        subscriber.process.stdout.close()
        assert subscriber.process.wait(DEADLINE) == 0
        assert subscriber.process.stderr is not None
        assert subscriber.process.stderr.read() == ""


def test_a_message_is_shown_without_control_characters_when_stdout_is_a_terminal(folder: Path) -> None:
    reader, terminal = pty.openpty()
    command = [*COMMAND, "sub", "camera1", "-c", "bus.json", "-n", "1"]
    showing = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | {"TERM": "dumb"}, stdout=terminal)
    try:
        words = ('{"text": "Grün\\u001b[2J\\u009b2J"}', "-b", "bus.json")
        assert msgbus(folder, "pub", "camera1", *words, "-c", "bus.json") == (0, "", "")
        assert showing.wait(DEADLINE) == 0
        shown = os.read(reader, 10_000).decode()
    finally:
        showing.kill()
        showing.wait()
        os.close(reader)
        os.close(terminal)
    size = (folder / "bus.json").stat().st_size
    assert f'camera1 {{"text": "Grün\\u001b[2J\\x9b2J"}} + {size} bytes' in shown
    assert "\x9b" not in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["-c", "bus.json"], "expected a message: KEY=VALUE, JSON, -, --file, --image or --blob"),
        (["n=1"], "expected one of the two"),
        (["n=1", "-c", "bus.json", "-a", "ipc://x/y"], "expected one of the two"),
        (["n=1", "-c", "bus.json", "--keys", "x"], "goes with an ADDRESS of tcp:// only"),
        (["n=1", "-a", "udp://x:1"], "expected ipc://DIRECTORY/FILE or tcp://HOST:PORT, got 'udp://x:1'"),
        (["n=1", "-a", "tcp://x"], "got 'tcp://x'"),
        (["n=1", "-a", "tcp://x:99999"], "got 'tcp://x:99999'"),
        (["n=1", "-a", "tcp://x:5/y"], "got 'tcp://x:5/y'"),
        (["n=1", "-a", "ipc://x/"], "got 'ipc://x/'"),
        (["n=1", "-a", "tcp://x:1", "--server-key", "k"], "is for the side that connects; this one listens"),
        (["n=1", "-c", "none.json"], "msgbus: config none.json: cannot read it: No such file or directory"),
        (["n=1", "-c", "bus.json", "-f", "x.json"], "expected metadata or --file, got both"),
        (["-c", "bus.json", "-f", "x.json", "-i", "x.png"], "goes with KEY=VALUE and JSON only"),
        (["-", "-c", "bus.json", "-i", "x.png"], "goes with KEY=VALUE and JSON only"),
    ],
)
def test_pub_does_not_start_when_arguments_are_wrong(arguments: list[str], complaint: str, folder: Path) -> None:
    status, out, err = msgbus(folder, "pub", "camera1", *arguments)
    assert (status, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        (["frame"], "", "msgbus: 'frame': expected KEY=VALUE or a JSON object\n"),
        (["=1"], "", "msgbus: '=1': expected KEY=VALUE or a JSON object\n"),
        (['{"a": '], "", 'msgbus: {"a": : expected JSON: Input data was truncated\n'),
        (["-"], '{"a": 1}\n[]\n', "msgbus: line 2: expected a JSON object, got list\n"),
        (["-f", "list.json"], "", "msgbus: list.json[1]: expected a JSON object, got int\n"),
        (["-b", "none.png"], "", "msgbus: none.png: cannot read it: No such file or directory\n"),
        (["-i", "none.png"], "", "msgbus: none.png: cannot read it: No such file or directory\n"),
        (["-i", "list.json"], "", "msgbus: list.json: expected a JPEG or PNG image\n"),
        (["-i", "empty"], "", "msgbus: empty: expected images, got an empty directory\n"),
    ],
)
def test_pub_names_the_place_when_a_message_is_wrong(
    arguments: list[str], stdin: str, complaint: str, folder: Path
) -> None:
    (folder / "list.json").write_text("[{}, 1]")
    (folder / "empty").mkdir()
    done = msgbus(folder, "pub", "camera1", *arguments, "-c", "bus.json", "--wait", "0", stdin=stdin)
    assert done == (1, "", complaint)


def test_a_message_is_passed_over_when_it_is_nested_too_deep_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    output = Output(as_json=True, save=None)
    output.show(mb.MsgEnvelope(deep, None, "camera\x1b1"))
    output.show(mb.MsgEnvelope({"n": 1}, None, "camera1"))
    out, err = capsys.readouterr()
    assert lines(out) == [{"name": "camera1", "metadata": {"n": 1}, "blobs": []}]
    assert err == "msgbus: a message of camera\\x1b1 is not shown: it is nested too deep\n"
