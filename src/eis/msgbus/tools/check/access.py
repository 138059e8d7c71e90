"""Rules of access: the keys and names of both sides fit. Shows public keys only."""

from collections.abc import Iterator

from eis.msgbus.tools.check.deployment import Connection, Deployment
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link

__all__ = ["not_let_in", "other_applications", "plain_text", "wrong_server_keys"]


def plain_text(deployment: Deployment) -> Iterator[Finding]:
    """Find connections of which one side has keys."""
    for client, server in _secured(deployment):
        if server.encrypted and not client.encrypted:
            problem = f"{server.title} ({server.where}) encrypts, this does not"
            advice = "give it server_public_key, client_public_key and client_secret_key"
            yield Finding(client.file, client.where, problem, advice)
        elif client.encrypted and not server.encrypted:
            problem = f"this encrypts, {server.title} ({server.where}) does not"
            yield Finding(client.file, client.where, problem, f"give {server.where} a server_secret_key")


def wrong_server_keys(deployment: Deployment) -> Iterator[Finding]:
    """Find clients that take another key for that of their server."""
    for client, server in _secured(deployment):
        if client.encrypted and server.encrypted and not client.server_keys & server.server_keys:
            advice = f"write {', '.join(server.server_keys)}"
            problem = f"server_public_key is not that of {server.title} ({server.where})"
            yield Finding(client.file, client.where, problem, advice)


def not_let_in(deployment: Deployment) -> Iterator[Finding]:
    """Find clients that their server does not let in, or not to their topics."""
    for client, server in _secured(deployment):
        if server.allowed is None or client.own_key is None:
            continue
        if client.own_key not in server.allowed:
            problem = f"the key of {client.title} ({client.where}) is not among allowed_clients"
            yield Finding(server.file, server.where, problem, f"add {client.own_key}")
            continue
        for name in client.names:
            if server.role == "publisher" and not _may_read(client.own_key, name, server):
                problem = f"{client.title} subscribes to {name!r}, and its key may not read every topic that begins so"
                yield Finding(server.file, f"{server.where}.topics", problem, f"add {client.own_key}")
            if server.side == "frontend" and not _may_read(client.own_key, f"{name}\0", server):
                problem = f"{client.title} publishes {name!r}, and its key may not"
                yield Finding(server.file, f"{server.where}.topics", problem, f"add {client.own_key}")


def other_applications(deployment: Deployment) -> Iterator[Finding]:
    """Find names of EIS/EII applications that nobody has, that are not who listens, or that are not let in."""
    apps = {link.app for link in deployment.links if link.app}
    for link in deployment.links:
        servers = {server.app for server in deployment.servers_of(link)}
        if link.peer is not None and link.peer not in apps:
            yield Finding(link.file, link.where, f"no application {link.peer!r} is here", f"here are {_told(apps)}")
        elif link.peer is not None and servers and link.peer not in servers:
            problem = f"{link.peer} does not listen at {link.at}, but {_told(servers)} does"
            yield Finding(link.file, link.where, problem, "name the application that listens there")
    for client, server in _secured(deployment):
        if server.allowed_apps is not None and client.app and client.app not in server.allowed_apps:
            problem = f"{client.app} ({client.where}) connects here, and is not among AllowedClients"
            yield Finding(server.file, f"{server.where}.AllowedClients", problem, f"add {client.app!r}")


def _secured(deployment: Deployment) -> Iterator[tuple[Link, Link]]:
    """Yield client and server of the connections that could have keys."""
    for connection in deployment.connections():
        if connection.client.type == "zmq_tcp":
            yield _sides(connection)


def _sides(connection: Connection) -> tuple[Link, Link]:
    return connection.client, connection.server


def _may_read(key: str, prefix: str, server: Link) -> bool:
    """Tell what `topics` decides: the longest beginning counts, a topic that has none is for nobody."""
    if server.topics is None:
        return True
    shorter = [beginning for beginning in server.topics if prefix.startswith(beginning)]
    longer = [beginning for beginning in server.topics if beginning.startswith(prefix) and beginning != prefix]
    deciding = [max(shorter, key=len), *longer] if shorter else []
    return bool(deciding) and all(key in server.topics[beginning] for beginning in deciding)


def _told(apps: set[str]) -> str:
    return ", ".join(sorted(apps)) or "none"
