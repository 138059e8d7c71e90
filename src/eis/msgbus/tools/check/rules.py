"""The rules, each a function of the deployment. Opens nothing but directories to look at."""

from collections.abc import Callable, Iterator

from eis.msgbus.tools.check import access, addresses, names, resources
from eis.msgbus.tools.check.deployment import Deployment
from eis.msgbus.tools.check.finding import Finding

__all__ = ["findings"]

Rule = Callable[[Deployment], Iterator[Finding]]

_OF_EACH: tuple[Rule, ...] = (
    resources.open_directories,
    resources.long_paths,
    resources.too_much_memory,
    resources.too_large_messages,
    addresses.two_listeners,
    names.clashes,
)
_TOGETHER: tuple[Rule, ...] = (
    addresses.nobody_listens,
    addresses.wrong_sides,
    addresses.other_files,
    addresses.other_directories,
    access.plain_text,
    access.wrong_server_keys,
    access.not_let_in,
    access.other_applications,
    names.other_services,
    names.not_published,
    resources.other_sizes,
)


def findings(deployment: Deployment) -> list[Finding]:
    """Return what is wrong: in single configurations, and between them where there are several."""
    rules = _OF_EACH + (_TOGETHER if deployment.whole else ())
    found = {finding for rule in rules for finding in rule(deployment)}
    return sorted({*deployment.findings, *found})
