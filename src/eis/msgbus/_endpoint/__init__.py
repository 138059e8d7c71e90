"""A name and a channel: what blocking and asyncio programs have in common. Does not know whether the caller awaits."""

from eis.msgbus._endpoint.bus import Bus, Endpoint, Stats
from eis.msgbus._endpoint.publisher import PublisherEndpoint
from eis.msgbus._endpoint.receiver import DecodingEndpoint, ReceivingEndpoint, SubscriberEndpoint
from eis.msgbus._endpoint.requests import RequesterEndpoint, ServiceEndpoint, WayBack

__all__ = [
    "Bus",
    "DecodingEndpoint",
    "Endpoint",
    "PublisherEndpoint",
    "ReceivingEndpoint",
    "RequesterEndpoint",
    "ServiceEndpoint",
    "Stats",
    "SubscriberEndpoint",
    "WayBack",
]
