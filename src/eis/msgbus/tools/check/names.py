"""Rules of names: topics are published, services are served, and no stream gets another's messages."""

import difflib
import itertools
from collections.abc import Iterator

from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link, Where

_TELL_APART = "end the name with something that no other begins with, such as a dot, or look at envelope.name"

__all__ = ["clashes", "not_published", "other_services"]


def other_services(deployment: Deployment) -> Iterator[Finding]:
    """Find who asks for one service where another is served."""
    for connection in deployment.connections():
        client, server = connection.client, connection.server
        if server.role == "service" and server.names and client.names and not set(client.names) & set(server.names):
            problem = f"asks for {client.names[0]!r} at {client.at}, where {server.title} serves {server.names[0]!r}"
            yield Finding(client.file, client.where, problem, "use the same name on both sides")


def not_published(deployment: Deployment) -> Iterator[Finding]:
    """Find subscriptions that fit no topic of those who are known to publish there."""
    for link in deployment.links:
        servers = [each for each in deployment.servers_of(link) if each.role == "publisher"]
        topics = sorted({topic for server in servers for topic in server.names})
        if link.role != "subscriber" or not topics or "" in topics:
            continue
        for name in link.names:
            if not any(topic.startswith(name) for topic in topics):
                close = difflib.get_close_matches(name, topics, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"published are {', '.join(topics)}"
                yield Finding(link.file, link.where, f"nobody publishes {name!r} at {link.at}", advice)


def clashes(deployment: Deployment) -> Iterator[Finding]:
    """Find topics that begin another's name at the same address: who subscribes to the one gets both."""
    named: dict[Where, dict[str, Link]] = {}
    for link in deployment.links:
        if link.role not in ("service", "requester", "subscriber") and not _is_of_service(link, deployment):
            for name in link.names:
                named.setdefault(_place(link, deployment), {}).setdefault(name, link)
    for topics in named.values():
        for shorter, longer in itertools.permutations(sorted(topics), 2):
            link = topics[shorter]
            if shorter and longer.startswith(shorter) and (link.listens or _number_goes_on(shorter, longer)):
                problem = f"who subscribes to {shorter!r} gets {longer!r} too, which begins so"
                yield Finding(link.file, link.where, problem, _TELL_APART)


def _number_goes_on(shorter: str, longer: str) -> bool:
    """Tell camera1 and camera10, which nobody wants together, from camera and camera1, where all may be wanted."""
    return shorter[-1].isdigit() and longer[len(shorter)].isdigit()


def _is_of_service(link: Link, deployment: Deployment) -> bool:
    return any(server.role == "service" for server in deployment.servers_of(link))


def _place(link: Link, deployment: Deployment) -> Where:
    """Return where the messages come from, however the client calls it."""
    return next((server.at for server in deployment.servers_of(link)), link.at)
