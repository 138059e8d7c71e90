"""The deployment as a drawing in Mermaid: applications, addresses, and what goes which way. Knows no rule."""

from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.link import Link

__all__ = ["mermaid"]


def mermaid(deployment: Deployment) -> str:
    """Return a flowchart; arrows go the way of messages, or of requests."""
    nodes: dict[str, str] = {}
    lines = []
    for link in deployment.links:
        app = nodes.setdefault(f"app {link.title}", f"a{len(nodes)}")
        server = next(iter(deployment.servers_of(link)), link)
        place = nodes.setdefault(f"{server.type} {server.at}", f"p{len(nodes)}")
        lines.append(f"  {_edge(link, app, place)}")
    shapes = [
        f"  {node}[{_quoted(name.removeprefix('app '))}]" if node[0] == "a" else f"  {node}([{_quoted(name)}])"
        for name, node in nodes.items()
    ]
    return "\n".join(["flowchart LR", *shapes, *dict.fromkeys(lines)])


def _edge(link: Link, app: str, place: str) -> str:
    name = ", ".join(link.names) or ("all topics" if link.role == "publisher" else "")
    text = f"|{_quoted(name + (' (CURVE)' if link.encrypted else ''))}|" if name or link.encrypted else ""
    if link.role == "any":
        return f"{app} ---{text} {place}"
    inward = link.role in ("publisher", "requester")
    return f"{app} -->{text} {place}" if inward else f"{place} -->{text} {app}"


def _quoted(text: str) -> str:
    return '"' + text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;") + '"'
