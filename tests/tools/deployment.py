"""A deployment as in a factory, for the drawing of `msgbus check`: its files, in a directory. Knows no command."""

import json
from pathlib import Path
from typing import Any

from eis.msgbus import keys
from eis.msgbus.tools.key_configs import configurations

__all__ = ["write_deployment"]


def write_deployment(folder: Path) -> list[str]:
    """Write the files of six applications into a directory, and return their names."""
    _write_keys(folder)
    frames = {"Type": "zmq_ipc", "EndPoint": "/run/eis"}
    results, commands = (
        {"Type": "zmq_tcp", "EndPoint": "127.0.0.1:65013"},
        {"Type": "zmq_tcp", "EndPoint": "127.0.0.1:65014"},
    )
    own, every = {"AllowedClients": ["*"]}, "default"
    ingestion = {
        "Publishers": [{"Name": every, "Topics": ["camera1", "camera2"], **frames, **own}],
        "Servers": [{"Name": "snapshot", **commands, **own}],
    }
    analytics = {
        "Subscribers": [{"Name": every, "Topics": ["camera1", "camera2"], "PublisherAppName": "ingestion", **frames}],
        "Publishers": [{"Name": every, "Topics": ["results"], **results, **own}],
    }
    visualizer = {
        "Subscribers": [
            {"Name": "results", "Topics": ["results"], "PublisherAppName": "analytics", **results},
            {"Name": every, "Topics": ["camera1"], "PublisherAppName": "ingestion", **frames},
        ],
        "Clients": [{"Name": "snapshot", "ServerAppName": "ingestion", **commands}],
    }
    for name, lists in {"ingestion": ingestion, "analytics": analytics, "visualizer": visualizer}.items():
        _write(folder / f"{name}.json", {"config": {}, "interfaces": lists})
    return ["ingestion.json", "analytics.json", "visualizer.json", "line.json", "archive.json", "office.json"]


def _write_keys(folder: Path) -> None:
    names = [str(folder / name) for name in ("line", "archive", "office")]
    for name in names:
        keys.write_pair(keys.new_key_pair(), name)
    for path, config in configurations(names, "tcp://127.0.0.1:65015", ["defects"], None).items():
        _write(Path(f"{path}.json"), config)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2))
