"""Rules of addresses: somebody listens where somebody connects, and nobody else listens there."""

import itertools
from collections.abc import Iterator

from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.finding import Finding
from eis.msgbus.tools.check.link import Link, Where

__all__ = ["nobody_listens", "other_directories", "other_files", "two_listeners", "wrong_sides"]


def nobody_listens(deployment: Deployment) -> Iterator[Finding]:
    """Find who connects where nobody listens."""
    for link in deployment.links:
        if deployment.servers_of(link) or not _surely_connects(link, deployment) or _other_side(link, deployment):
            continue
        others = [each for each in deployment.links if each.file != link.file and each is not link]
        if not any(each.role == "any" and link.at.reaches(each.at) and link.type == each.type for each in others):
            yield Finding(link.file, link.where, f"nobody listens at {link.at}", _better(link, others))


def _surely_connects(link: Link, deployment: Deployment) -> bool:
    if deployment.brokered or (link.brokered and not link.peer and not deployment.brokers):
        return False  # the broker has no configuration
    if link.role != "any":
        return link.connects
    own = [each for each in deployment.links if each.file == link.file]
    if link.at.directory:  # both sides have the same entry: that of another socket file is a finding of its own
        return bool(link.names) and not _has_neighbours(link, deployment)
    # It may be a service; but not where nothing listens for sure, and another application has what is looked for.
    return bool(link.names) and not any(each.listens for each in own) and _named_elsewhere(link, deployment)


def _has_neighbours(link: Link, deployment: Deployment) -> bool:
    return any(each.file != link.file and each.at.directory == link.at.directory for each in deployment.links)


def _named_elsewhere(link: Link, deployment: Deployment) -> bool:
    """Tell whether another application has the name, or publishes over the same mode: it is what was meant."""
    others = [each for each in deployment.links if each.file != link.file]
    return any(_common(each, link) for each in others) or (
        link.type == "zmq_tcp" and any(each.role == "publisher" and each.type == "zmq_tcp" for each in others)
    )


def _better(link: Link, others: list[Link]) -> str:
    """Say who may have been meant."""
    listening = [each for each in others if not each.connects and not (link.brokered and each.side != "frontend")]
    same_name = [each for each in listening if _common(each, link)]
    for each in same_name:
        if each.type != link.type:
            return f"{each.title} has {link.names[0]} over {each.type}: use the same type on both sides"
    same_port = [each for each in listening if each.at.port == link.at.port != 0]
    for each in same_port:
        if each.at.loopback:
            return f"{each.title} listens at {each.at}, which only its own machine reaches: let it listen at 0.0.0.0"
        return f"{each.title} listens at {each.at}: use that host"
    for each in same_name + [each for each in listening if each.type == link.type]:
        return f"{each.title} listens at {each.at}: use the same address on both sides"
    return "start what listens there, and name its configuration too"


def two_listeners(deployment: Deployment) -> Iterator[Finding]:
    """Find addresses at which two would listen: the second gets `AddressInUse`."""
    listening = [link for link in deployment.links if link.listens]
    for first, second in itertools.combinations(listening, 2):
        if first.type == second.type and _same(first.at, second.at, deployment):
            what = f"{first.title} ({first.where}) listens at {first.at} too"
            advice = "give one of them another address"
            if "frontend" in (first.side, second.side):
                advice += '; a publisher of the broker says "brokered": true'
            yield Finding(second.file, second.where, what, advice)


def wrong_sides(deployment: Deployment) -> Iterator[Finding]:
    """Find who connects to the side of a broker that is for others."""
    for link in deployment.links:
        if not link.listens and (side := _other_side(link, deployment)) is not None:
            problem = f"{link.at} is the {side.side} of {side.title}, to which {_WHO[side.side]} connect"
            right = next(each for each in deployment.brokers if each.file == side.file and each.side != side.side)
            advice = f"the {right.side}, for {_WHO[right.side]}, is at {right.at}"
            if side.side == "frontend":
                advice += '; a publisher says "brokered": true'
            yield Finding(link.file, link.where, problem, advice)


_WHO = {"frontend": "publishers", "backend": "subscribers"}


def _other_side(link: Link, deployment: Deployment) -> Link | None:
    """Return the side of a broker whose address this is, if it is for others."""
    wrong = "backend" if link.brokered else "frontend"
    return next((side for side in deployment.brokers if side.side == wrong and _is_at(link, side)), None)


def _is_at(link: Link, side: Link) -> bool:
    return link.file != side.file and link.type == side.type and link.at.reaches(side.at)


def _same(first: Where, second: Where, deployment: Deployment) -> bool:
    """Tell whether two addresses are one: every address of a machine too, unless there are several machines."""
    if first == second and not first.everywhere:
        return True
    if first.directory or first.port != second.port or not (first.everywhere or second.everywhere):
        return False
    hosts = {link.at.host for link in deployment.links if link.at.port == first.port and not link.listens}
    return len(hosts) < 2


def other_files(deployment: Deployment) -> Iterator[Finding]:
    """Find names that have one socket file here and another there."""
    known: dict[tuple[str, str], Link] = {}
    for link in deployment.links:
        if link.type != "zmq_ipc" or deployment.brokered or _is_of_broker(link, deployment):
            continue
        for name in link.names:
            first = known.setdefault((link.at.directory, name), link)
            if first.at.file != link.at.file and first.file != link.file:
                problem = f"{name} has the socket file {link.at.file!r}, and in {first.title} {first.at.file!r}"
                yield Finding(link.file, link.where, problem, "use the same socket_file on both sides")


def _is_of_broker(link: Link, deployment: Deployment) -> bool:
    """Tell whether a broker is at the other end, which has another file for publishers than for subscribers."""
    return link.brokered or any(server.side for server in deployment.servers_of(link))


def other_directories(deployment: Deployment) -> Iterator[Finding]:
    """Find who is alone in a directory of socket files, while others share one."""
    files: dict[str, set[str]] = {}
    for link in deployment.links:
        if link.type == "zmq_ipc":
            files.setdefault(link.at.directory, set()).add(link.file)
    for directory, users in files.items():
        others = sorted(each for each in files if each != directory)
        if len(users) == 1 and others:
            problem = f"no other application uses the socket_dir {directory}"
            yield Finding(next(iter(users)), "socket_dir", problem, f"others use {', '.join(others)}")


def _common(first: Link, second: Link) -> set[str]:
    return set(first.names) & set(second.names)
