"""A subscriber of all topics of its entry, as EmbSubscriber is; it prints what came on each."""

import json
import threading

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
sub_ctx = ctx.get_subscriber_by_name("default")
msgbus = mb.MsgbusContext(sub_ctx.get_msgbus_config())
got: dict[str, list[tuple[str | None, int]]] = {}


def receive(topic: str, count: int) -> None:
    subscriber = msgbus.new_subscriber(topic)
    messages = [subscriber.recv(timeout=30_000) for _ in range(count)]
    got[topic] = [(message.get_name(), message.get_meta_data()["number"]) for message in messages]
    subscriber.close()


expected = ctx.get_app_config()["expected"]
threads = [threading.Thread(target=receive, args=(topic, expected[topic])) for topic in sub_ctx.get_topics()]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
print(json.dumps(got), flush=True)
