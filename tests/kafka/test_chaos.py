"""Workers and brokers are killed at random moments over three interleaved datasets, and nothing is lost or doubled.

``make chaos`` kills 200 times (``FLTS_CHAOS_KILLS``). There are three brokers where ``KAFKA_START`` starts them, else
the packaged one, or those of ``KAFKA_BOOTSTRAP_SERVERS``, of which none is killed.
"""

import os
import random
import time

import pytest

from flts.models.registry import REQUIRED_MODELS
from tests.support import brokers, kafka

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_chaos")]
KILLS = int(os.environ.get("FLTS_CHAOS_KILLS", "16"))
# Of all victims; when the broker comes again it has to be found again by everybody.
BROKER_SHARE = 0.15
DATASETS_AT_ONCE = 3
LASTING = {"EPOCHS": "40", "EARLY_STOPPING": "false"}


@pytest.mark.parametrize("own_broker", [3], indirect=True)
@pytest.mark.timeout(300 + 30 * KILLS)
def test_whatever_is_killed_every_dataset_is_promoted_once(own_broker: brokers.Brokers, own_place: kafka.Place) -> None:
    place = own_place
    place.environ |= LASTING
    chance = random.Random(11)  # noqa: S311
    workers = {stage: place.start(stage) for stage in kafka.STAGES}
    identifiers: list[str] = []
    for kills in range(KILLS):
        busy = [each for each in identifiers if not kafka.finished(place, each)]
        if len(busy) < DATASETS_AT_ONCE and kills + DATASETS_AT_ONCE < KILLS + 1:
            identifiers.append(f"run-{len(identifiers)}")
            place.preprocess(f"slice-{len(identifiers) % 3}", identifiers[-1], EXTRA_HASH_SALT=identifiers[-1])
        time.sleep(chance.uniform(0.2, 3.0))
        if own_broker.count and chance.random() < BROKER_SHARE:
            kill_brokers(own_broker, chance)
        else:
            victim = chance.choice(kafka.STAGES)
            workers[victim].kill()
            workers[victim] = place.start(victim)

    place.until(lambda: kafka.finished(place, *identifiers))
    place.until(lambda: kafka.waiting(place) == 0)

    assert len(identifiers) >= DATASETS_AT_ONCE
    for identifier in identifiers:
        assert len(place.history(identifier)) == 1, identifier
        assert len(place.forecasts(identifier)) == 1, identifier
        assert kafka.finished_runs(place, identifier) == dict.fromkeys(REQUIRED_MODELS, 1)
    assert kafka.dead_letters(place) == []


def kill_brokers(own: brokers.Brokers, chance: random.Random) -> None:
    """Kill one of the brokers, or two of three, so that nobody writes any more; and start them again."""
    victims = chance.sample(range(1, own.count + 1), chance.randint(1, max(1, own.count - 1)))
    for victim in victims:
        own.kill(victim)
    time.sleep(chance.uniform(0, 1))
    for victim in victims:
        own.again(victim)
