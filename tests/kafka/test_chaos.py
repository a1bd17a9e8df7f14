"""Workers and the broker are killed at random moments over three interleaved datasets, and nothing is lost or doubled.

``make chaos`` kills 200 times (``FLTS_CHAOS_KILLS``).
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.support import kafka
from tests.support.services import S3

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_chaos")]
KILLS = int(os.environ.get("FLTS_CHAOS_KILLS", "16"))
# Of all victims; when the broker comes again it has to be found again by everybody.
BROKER_SHARE = 0.15
DATASETS_AT_ONCE = 3


@pytest.mark.timeout(240 + 20 * KILLS)
def test_whatever_is_killed_every_dataset_is_promoted_once(s3: S3, root: Path, tmp_path: Path) -> None:
    chance = random.Random(11)  # noqa: S311
    environ = {"KAFKA_SESSION_TIMEOUT_MS": "3000", "EPOCHS": "40", "EARLY_STOPPING": "false"}
    with (
        kafka.broker(tmp_path / "broker", s3) as broker,
        kafka.place(tmp_path / "place", broker.servers, **environ) as place,
    ):
        kafka.put_slices(place, root)
        workers = {stage: place.start(stage) for stage in kafka.STAGES}
        identifiers: list[str] = []
        for kills in range(KILLS):
            busy = [each for each in identifiers if not kafka.finished(place, each)]
            if len(busy) < DATASETS_AT_ONCE and kills + DATASETS_AT_ONCE < KILLS + 1:
                identifiers.append(f"run-{len(identifiers)}")
                place.preprocess(f"slice-{len(identifiers) % 3}", identifiers[-1], EXTRA_HASH_SALT=identifiers[-1])
            time.sleep(chance.uniform(0.2, 3.0))
            if chance.random() < BROKER_SHARE:
                broker.kill()
                time.sleep(chance.uniform(0, 1))
                broker.start()
            else:
                victim = chance.choice(kafka.STAGES)
                workers[victim].kill()
                workers[victim] = place.start(victim)

        place.until(lambda: kafka.finished(place, *identifiers), 180)
        place.until(lambda: kafka.waiting(place) == 0, 120)

        assert len(identifiers) >= DATASETS_AT_ONCE
        for identifier in identifiers:
            assert len(place.history(identifier)) == 1, identifier
            assert len(place.forecasts(identifier)) == 1, identifier
            assert kafka.finished_runs(place, identifier) == {"GRU": 1, "LSTM": 1, "PROPHET": 1}
        assert kafka.dead_letters(place) == []
