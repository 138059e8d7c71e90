"""A publisher of all topics of its entry, as EmbPublisher and Telegraf are: some points on each, and under each."""

import cfgmgr.config_manager as cfg
import eii.msgbus as mb

ctx = cfg.ConfigMgr()
pub_ctx = ctx.get_publisher_by_index(0)
msgbus = mb.MsgbusContext(pub_ctx.get_msgbus_config())
topics = [topic + ending for topic in pub_ctx.get_topics() for ending in ctx.get_app_config().get("endings", [""])]
publishers = {topic: msgbus.new_publisher(topic) for topic in topics}
for topic, publisher in publishers.items():
    publisher.wait_for_subscribers(ctx.get_app_config()["subscribers"][topic], timeout=30_000)
for number in range(ctx.get_app_config()["points"]):
    for topic, publisher in publishers.items():
        publisher.publish({"measurement": topic, "number": number})
msgbus.close()
