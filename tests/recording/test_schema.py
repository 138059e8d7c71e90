from typing import Any

import jsonschema
import pytest

from eis.msgbus.recording.schema import schema_of

SAMPLE: dict[str, Any] = {
    "frame_number": 1,
    "score": 0.5,
    "label": "scratch",
    "ok": True,
    "nothing": None,
    "size": {"width": 2, "nothing": None},
    "box": [1, 2.5],
    "defects": [{"type": 1}, {"tl": [1, 2]}],
    "mixed": [1, "a"],
    "empty": [],
    "nested": [[1]],
    "holes": [None],
}


def test_the_schema_tells_the_keys_of_metadata_that_foxglove_can_read() -> None:
    assert schema_of(SAMPLE)["properties"] == {
        "frame_number": {"type": "number"},
        "score": {"type": "number"},
        "label": {"type": "string"},
        "ok": {"type": "boolean"},
        "size": {"type": "object", "properties": {"width": {"type": "number"}}},
        "box": {"type": "array", "items": {"type": "number"}},
        "defects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"type": "number"}, "tl": {"type": "array", "items": {"type": "number"}}},
            },
        },
    }


@pytest.mark.parametrize("meta_data", [SAMPLE, {}])
def test_metadata_fit_their_own_schema(meta_data: dict[str, Any]) -> None:
    schema = schema_of(meta_data)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(meta_data, schema)
