"""Workers whose buckets have names of their own: what they keep between messages is there as well."""

import os
from pathlib import Path

import pytest

from flts.params import BUCKETS
from tests.support import kafka

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_crew"), pytest.mark.timeout(600)]

NAMES = {name: f"ours-{bucket.default}" for name, bucket in BUCKETS.items()}


def test_workers_write_to_the_named_buckets_and_no_others(servers: str, root: Path, tmp_path: Path) -> None:
    environ = {name.upper(): bucket for name, bucket in NAMES.items()} | {"EXPECTED_MODEL_TYPES": "GRU"}
    with kafka.place(tmp_path / "place", servers, **environ) as place:
        rows = (root / "examples" / "data" / "jfk_weather.csv").read_text().splitlines(keepends=True)
        for name, part in (("slice", rows[1:301]), ("slice_test", rows[301:381])):
            place.store.put(NAMES["input_bucket"], f"{name}.csv", "".join([rows[0], *part]).encode())
        workers = [place.start(stage) for stage in ("train-gru", "eval", "inference")]
        place.preprocess("slice", "renamed")
        place.until(lambda: place.messages("performance-eval"))
        place.until(lambda: [len(worker.events("handled")) for worker in workers] == [1, 2, 2])

        status = place.run("flts-status")
        kept = [info.key for info in place.store.list(NAMES["promotion_bucket"], "renamed/")]
        forecasts = [info.key for info in place.store.list(NAMES["inference_log_bucket"], "renamed/")]

    used = ("input_bucket", "output_bucket", "promotion_bucket", "inference_log_bucket")
    assert {name for name in os.listdir(place.folder / "store") if name[0] != "."} == {NAMES[name] for name in used}
    for part in ("/trained/GRU.json", "/trainings/", "/promotion-", "/current.json"):
        assert any(part in key for key in kept), part
    assert any(key.endswith("predictions.parquet") for key in forecasts)
    assert "no dataset waits for anything" in status.stdout
