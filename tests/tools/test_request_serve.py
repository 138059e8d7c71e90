import json
import sys
from pathlib import Path

import pytest

import eis.msgbus as mb
from eis.msgbus import keys
from eis.msgbus.tools import serve
from tests.tools.process import msgbus, started

WHERE = ("-c", "bus.json")


def answered(folder: Path, service: list[str], *request: str | Path, stdin: str = "") -> tuple[int, list[object], str]:
    """The end of `msgbus request` with a service that runs meanwhile, and the replies' metadata."""
    with started(folder, "serve", "echo", *WHERE, *service) as serving:
        assert serving.error_line() == "msgbus: serving echo\n"
        status, out, err = msgbus(folder, "request", "echo", *WHERE, *request, stdin=stdin)
    return status, [json.loads(line)["metadata"] for line in out.splitlines()], err


def test_a_request_comes_back_when_nothing_else_is_said(folder: Path) -> None:
    assert answered(folder, [], "n=1", "text=a") == (0, [{"n": 1, "text": "a"}], "")


def test_an_empty_request_is_sent_when_nothing_is_written(folder: Path) -> None:
    assert answered(folder, []) == (0, [{}], "")


def test_each_line_is_a_request_when_read_from_stdin(folder: Path) -> None:
    assert answered(folder, [], "-", stdin='{"n": 1}\n{"n": 2}\n') == (0, [{"n": 1}, {"n": 2}], "")


def test_a_blob_comes_back_when_a_request_had_one(folder: Path) -> None:
    with started(folder, "serve", "echo", *WHERE, "-n", "1") as serving:
        serving.error_line()
        assert msgbus(folder, "request", "echo", "-b", "bus.json", *WHERE, "--save", "replies")[0] == 0
        status, out, err = serving.ended()
    assert (status, err) == (0, "")
    assert json.loads(out)["blobs"] == [(folder / "bus.json").stat().st_size]
    assert (folder / "replies" / "echo-000001-0.bin").read_bytes() == (folder / "bus.json").read_bytes()


def test_the_reply_is_fixed_when_an_answer_is_given(folder: Path) -> None:
    assert answered(folder, ["--answer", '{"done": true}'], "n=1") == (0, [{"done": True}], "")


def test_a_program_answers_when_one_is_given(folder: Path) -> None:
    (folder / "answer.py").write_text("import json; print(json.dumps({'sum': sum(json.loads(input())['n'])}))")
    program = f"{sys.executable} answer.py"
    assert answered(folder, ["--exec", program], "n=[1,2]") == (0, [{"sum": 3}], "")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("false", "returned non-zero exit status 1"),
        ("no-such-program", "No such file or directory"),
        ("echo 1", "its output: expected a JSON object, got int"),
        ("true", "its output: expected JSON: Input data was truncated"),
        ("sleep 100", "timed out"),
        ("echo $(touch made)", "its output: expected JSON"),
    ],
)
def test_the_client_is_told_when_the_program_fails(program: str, problem: str, folder: Path) -> None:
    service = ["--exec", program, "--timeout", "1"]
    status, replies, err = answered(folder, service, "-", stdin='{"n": 1}\n{"n": 2}\n')
    assert (status, err) == (0, "")
    assert [problem in str(reply) for reply in replies] == [True, True]
    assert not (folder / "made").exists()


def test_the_client_is_told_when_its_request_is_nested_too_deep_for_the_program() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    reply = serve._result(["cat"], mb.MsgEnvelope(deep), 1)
    assert "the program of this service failed: maximum recursion depth exceeded" in reply["error"]


def test_the_client_gives_up_when_nobody_serves(folder: Path) -> None:
    status, out, err = msgbus(folder, "request", "echo", *WHERE, "--timeout", "0.1")
    assert (status, out) == (1, "")
    assert err == "msgbus: requester echo: no message within 100 ms\n"


def test_requests_are_answered_when_both_sides_have_keys(folder: Path, tcp_port: int) -> None:
    for name in ("server", "client"):
        keys.write_pair(keys.new_key_pair(), folder / name)
    address = ("-a", f"tcp://127.0.0.1:{tcp_port}")
    with started(folder, "serve", "echo", *address, "--keys", "server", "-n", "1") as serving:
        assert serving.error_line() == "msgbus: serving echo\n"
        server = keys.read_public(folder / "server.public")
        done = msgbus(folder, "request", "echo", "n=1", *address, "--keys", "client", "--server-key", server)
    assert done == (0, '{"name": "echo", "metadata": {"n": 1}, "blobs": []}\n', "")


def test_the_service_ends_quietly_when_interrupted(folder: Path) -> None:
    with started(folder, "serve", "echo", *WHERE) as serving:
        serving.error_line()
        assert serving.interrupted() == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--answer", "[]"], 1, "msgbus: --answer: expected a JSON object, got list"),
        (["--answer", "{}", "--exec", "true"], 2, "expected one of the two"),
        (["--exec", "'"], 2, "No closing quotation"),
        (["--exec", ""], 2, "expected a program"),
    ],
)
def test_serve_does_not_start_when_arguments_are_wrong(
    arguments: list[str], status: int, complaint: str, folder: Path
) -> None:
    found, out, err = msgbus(folder, "serve", "echo", *WHERE, *arguments)
    assert (found, out) == (status, "")
    assert complaint in err
