"""What can be shown of Windows elsewhere: `zmq_tcp` and `memory` need no module that only Unix has."""

import subprocess
import sys

PROGRAM = """
import importlib.abc, json, sys

class NotOnWindows(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "grp", "pwd", "resource", "termios", "posix_ipc"):
            raise ModuleNotFoundError(f"{name} is not on Windows", name=name)

sys.meta_path.insert(0, NotOnWindows())
import eis.msgbus as mb

for config in json.loads(sys.argv[1]):
    with mb.MsgbusContext(config) as bus:
        publisher, subscriber = bus.new_publisher("t"), bus.new_subscriber("t")
        publisher.wait_for_subscribers(1, 5000)
        publisher.publish({"over": config["type"]})
        print(subscriber.recv(5000).meta_data["over"])
print("fcntl" in sys.modules)
"""


def test_tcp_and_memory_work_when_there_are_no_modules_of_unix(tcp_port: int) -> None:
    where = {"host": "127.0.0.1", "port": tcp_port}
    configs = f'[{{"type": "memory"}}, {{"type": "zmq_tcp", "zmq_tcp_publish": {where}, "t": {where}}}]'
    program = [sys.executable, "-c", PROGRAM, configs.replace("'", '"')]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    assert ended.stdout.split() == ["memory", "zmq_tcp", "False"]
    [warning] = ended.stderr.splitlines()
    assert warning.startswith(f"127.0.0.1:{tcp_port}: plain text, without keys")
