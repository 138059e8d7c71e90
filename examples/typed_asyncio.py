"""Typed messages in asyncio: one task publishes results, another receives them and asks a service about each."""

import argparse
import asyncio

import msgspec

from eis.msgbus import aio


class Result(msgspec.Struct):
    frame_number: int
    defects: list[str]


async def inspect(bus: aio.MsgbusContext, count: int) -> None:
    """Publish `count` results, as a camera inspection would."""
    with_defect = 3
    publisher = bus.new_publisher("results")
    await publisher.wait_for_subscribers(timeout=10)
    for number in range(count):
        publisher.publish(Result(number, ["scratch"] if number == with_defect else []))


async def advise(bus: aio.MsgbusContext, ready: asyncio.Event) -> None:
    """Answer requests until the task is cancelled."""
    service = bus.new_service("advice")
    ready.set()
    async for request in service:
        service.response({"part": "reject" if request.meta_data["defects"] else "accept"})


async def watch(bus: aio.MsgbusContext, count: int) -> None:
    """Receive `count` results, and ask what to do about each."""
    subscriber, requester = bus.new_subscriber("results", type=Result), bus.get_service("advice")
    for _ in range(count):
        envelope = await subscriber.recv(timeout=10)
        result = envelope.meta_data  # a Result, for the type checker too
        advice = await requester.request({"defects": result.defects}, timeout=10)
        print(f"frame {result.frame_number}: {advice.meta_data['part']}", flush=True)


async def main(config: str, count: int) -> None:
    async with aio.MsgbusContext(config) as bus, asyncio.TaskGroup() as tasks:
        ready = asyncio.Event()
        service = tasks.create_task(advise(bus, ready))
        await ready.wait()
        tasks.create_task(inspect(bus, count))
        await watch(bus, count)
        service.cancel()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("config", help="JSON or TOML file with the configuration of the bus")
parser.add_argument("--count", type=int, default=5, help="number of results (default: %(default)s)")
args = parser.parse_args()
asyncio.run(main(args.config, args.count))
