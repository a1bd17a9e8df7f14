"""Damaged messages between good ones: all of them become dead letters, and no worker minds."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import kafka

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_crew"), pytest.mark.timeout(900)]

READERS = {"training-data": 3, "inference-data": 1, "model-training": 1, "model-selected": 1, "preprocess-requests": 1}
# What a message cannot do without; what older producers did not send is not among it.
NEEDED = {
    "training-data": ("bucket", "object"),
    "inference-data": ("bucket",),
    "model-training": ("model_type", "config_hash", "run_id", "status", "model_uri", "train_end"),
    "model-selected": ("model_uri", "model_type", "run_id", "config_hash", "promotion_time", "experiment"),
    "preprocess-requests": ("dataset_name",),
}
COUNT = 200


def damages(topic: str, good: dict[str, Any]) -> st.SearchStrategy[bytes | None]:
    """Ways in which a message can be wrong."""
    text = json.dumps(good).encode()
    no_value = st.sampled_from([[], {}, -1.5, True])
    fields = st.sampled_from(NEEDED[topic])
    claims = st.sampled_from([{"sha256": "0" * 64}, {"object": "gone.parquet"}, {"rows": 1}, {"config_hash": "other"}])
    ways = [
        st.none(),
        st.binary(max_size=100).filter(lambda value: not value.strip().startswith(b"{")),
        st.integers(1, len(text) - 1).map(lambda length: text[:length]),
        st.sampled_from([2, 0, "1", None, True]).map(lambda version: _json({**good, "v": version})),
        fields.map(lambda name: _json({each: good[each] for each in good if each != name})),
        st.tuples(fields, no_value).map(lambda change: _json({**good, change[0]: change[1]})),
    ]
    if topic in ("training-data", "inference-data"):
        ways.append(claims.map(lambda change: _json({**good, **change})))
    return st.one_of(ways)


def test_damaged_messages_become_dead_letters_and_good_ones_are_handled(crew: kafka.Place) -> None:
    good = _good_messages(crew)
    identifiers = [f"between-{number}" for number in range(3)]
    sent: list[tuple[str, str, bytes | None]] = []

    @settings(
        max_examples=COUNT, database=None, derandomize=True, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def send_damaged(data: st.DataObject) -> None:
        topic = data.draw(st.sampled_from(sorted(READERS)))
        value = data.draw(damages(topic, good[topic]))
        key = f"damaged-{len(sent)}"
        crew.send(topic, value, key)
        sent.append((topic, key, value))
        if len(sent) % (COUNT // 4) == 0 and (ready := len(sent) * 4 // COUNT) <= len(identifiers):
            crew.preprocess(f"slice-{ready - 1}", identifiers[ready - 1])

    send_damaged()
    assert len(sent) >= COUNT
    crew.until(lambda: kafka.finished(crew, *identifiers))
    crew.until(lambda: kafka.waiting(crew) == 0)

    letters = [each for each in kafka.dead_letters(crew) if (each["key"] or b"").startswith(b"damaged-")]
    expected = Counter((key, value) for topic, key, value in sent for _ in range(READERS[topic]))
    assert Counter((each["key"].decode(), each["value"]) for each in letters) == expected
    for each in letters:
        headers = each["headers"]
        assert headers["error"]
        assert headers["attempts"] == "1", headers
        assert headers["original_topic"] in {crew.topic(topic) for topic in READERS}
        assert headers["original_offset"].isdecimal()
        assert headers["original_timestamp"].isdecimal()


def _good_messages(at: kafka.Place) -> dict[str, dict[str, Any]]:
    """A message of each topic that would be handled."""
    at.preprocess("slice-0", "pattern")
    at.until(lambda: kafka.finished(at, "pattern"))
    found = {}
    for topic in ("training-data", "inference-data", "model-training", "model-selected"):
        ours = [each for each in at.documents(topic) if each["identifier"] == "pattern"]
        found[topic] = ours[-1]
    return found | {"preprocess-requests": {"dataset_name": "slice-0", "identifier": "pattern"}}


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()
