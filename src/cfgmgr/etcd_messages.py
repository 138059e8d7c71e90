"""What is said to etcd, and what it answers: the few messages of its protocol that are used, by their numbers.

They are those of etcd's `rpc.proto` and `kv.proto`. Code that protoc generates is promised to work with its own version
of protobuf and the next; these work with any.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["RangeRequest", "RangeResponse", "WatchRequest", "WatchResponse"]

_PACKAGE = "cfgmgr.etcd"
_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "bytes": _Field.TYPE_BYTES,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
}
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "KeyValue": {"key": (1, "bytes"), "mod_revision": (3, "int64"), "value": (5, "bytes")},
    "ResponseHeader": {"revision": (3, "int64")},
    "RangeRequest": {"key": (1, "bytes"), "range_end": (2, "bytes")},
    "RangeResponse": {"header": (1, "ResponseHeader"), "kvs": (2, "KeyValue*")},
    "WatchCreateRequest": {"key": (1, "bytes"), "range_end": (2, "bytes"), "start_revision": (3, "int64")},
    "WatchRequest": {"create_request": (1, "WatchCreateRequest")},
    "Event": {"type": (1, "int64"), "kv": (2, "KeyValue")},
    "WatchResponse": {
        "header": (1, "ResponseHeader"),
        "created": (3, "bool"),
        "canceled": (4, "bool"),
        "compact_revision": (5, "int64"),
        "cancel_reason": (6, "string"),
        "events": (11, "Event*"),
    },
}


def _described() -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(name="cfgmgr/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = described.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind.removesuffix('*')}"
    return described


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_described())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


RangeRequest = _message("RangeRequest")
RangeResponse = _message("RangeResponse")
WatchRequest = _message("WatchRequest")
WatchResponse = _message("WatchResponse")
