"""All applications together: who reaches whom. Knows no rule."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from eis.msgbus.tools.check.applications import has_interfaces, of_application
from eis.msgbus.tools.check.brokers import is_broker, of_broker
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link
from eis.msgbus.tools.check.source import of_bus, read

__all__ = ["Connection", "Deployment", "deployment_of"]


@dataclasses.dataclass(frozen=True)
class Connection:
    """Be one client's way to one server."""

    client: Link
    server: Link


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Hold the links of all applications, and what was wrong with single configurations."""

    links: tuple[Link, ...]
    findings: tuple[Finding, ...]
    files: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Tell whether it can be expected that both sides of a connection are known."""
        return len(self.files) > 1

    @property
    def brokered(self) -> bool:
        """Tell whether somebody connects to a broker that has no configuration of its own."""
        return not self.brokers and any(link.brokered and not self.servers_of(link) for link in self.links)

    @property
    def brokers(self) -> tuple[Link, ...]:
        """Return the sides of brokers that have files of their own."""
        return tuple(link for link in self.links if link.side)

    def connections(self) -> Iterator[Connection]:
        """Yield who connects to whom."""
        for link in self.links:
            for server in self.servers_of(link):
                yield Connection(link, server)

    def servers_of(self, link: Link) -> list[Link]:
        """Return who listens where a link connects; of `any`, where it would if it were a client."""
        if link.listens or (link.role == "any" and link.at.everywhere):
            return []
        there = [each for each in self.links if each.listens and each is not link and _fit(link, each)]
        return [each for each in there if _meant(link, each)] or there


def _fit(client: Link, server: Link) -> bool:
    if client.type != server.type or not client.at.reaches(server.at):
        return False
    if client.brokered:
        return server.role == "service"  # what publishers of a broker connect to
    return server.side != "frontend"


def _meant(client: Link, server: Link) -> bool:
    """Tell, of several boxes with the same port, which one a client means: that which fits."""
    if client.encrypted is not server.encrypted or (client.encrypted and not client.server_keys & server.server_keys):
        return False
    return server.role == "publisher" or not server.names or bool(set(client.names) & set(server.names))


def deployment_of(files: list[Path], store: Path | None) -> Deployment:
    """Read the configurations of all applications.

    Raises:
        Unusable: one of the files is none.
    """
    links: list[Link] = []
    findings: list[Finding] = []
    for path in files:
        config = read(path)
        if is_broker(config):
            found = of_broker(path)
        else:
            found = of_application(path, config, store) if has_interfaces(config) else of_bus(path, config)
        links += found[0]
        findings += found[1]
    return Deployment(tuple(links), tuple(findings), tuple(str(path) for path in files))
