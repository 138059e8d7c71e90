"""The deployment as a graph: applications, addresses, and what goes which way; in Mermaid too. Knows no rule."""

import dataclasses

from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.link import Link
from eis.msgbus.tools.stderr import printable

__all__ = ["Edge", "Graph", "graph_of", "mermaid"]


@dataclasses.dataclass(frozen=True)
class Edge:
    """Be the way of messages or requests from a node to another; `known` is whether that is the way.

    One of both is an application, the other an address.
    """

    source: str
    target: str
    label: str
    encrypted: bool
    known: bool = True


@dataclasses.dataclass(frozen=True)
class Graph:
    """Hold the titles of applications (`a0`) and addresses (`p1`), and what is between them."""

    nodes: dict[str, str]
    edges: tuple[Edge, ...]


def graph_of(deployment: Deployment) -> Graph:
    """Return who sends where, and who receives from there."""
    nodes: dict[str, str] = {}
    edges: dict[Edge, None] = {}
    for link in deployment.links:
        app = nodes.setdefault(f"app {link.title}", f"a{len(nodes)}")
        server = next(iter(deployment.servers_of(link)), link)
        place = nodes.setdefault(f"{server.type} {server.at}", f"p{len(nodes)}")
        edges[_edge(link, app, place)] = None
    return Graph({node: title.removeprefix("app ") for title, node in nodes.items()}, tuple(edges))


def _edge(link: Link, app: str, place: str) -> Edge:
    label = ", ".join(link.names) or ("all topics" if link.role == "publisher" else "")
    if link.role in ("publisher", "requester", "any"):
        return Edge(app, place, label, link.encrypted, link.role != "any")
    return Edge(place, app, label, link.encrypted)


def mermaid(graph: Graph) -> str:
    """Return a flowchart."""
    shapes = [
        f"  {node}[{_quoted(title)}]" if node[0] == "a" else f"  {node}([{_quoted(title)}])"
        for node, title in graph.nodes.items()
    ]
    return "\n".join(["flowchart LR", *shapes, *map(_arrow, graph.edges)])


def _arrow(edge: Edge) -> str:
    label = edge.label + (" (CURVE)" if edge.encrypted else "")
    text = f"|{_quoted(label)}|" if label else ""
    return f"  {edge.source} {'-->' if edge.known else '---'}{text} {edge.target}"


def _quoted(text: str) -> str:
    shown = printable(text).replace("&", "#amp;").replace('"', "#quot;")
    return '"' + shown.replace("<", "#lt;").replace(">", "#gt;") + '"'
