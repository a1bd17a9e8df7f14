"""Each right that a worker or a command lacks is told by its name."""

import json

import pytest

from flts.workers.permissions import CREATE, GROUP, TOPIC, Permission, permissions_of
from tests.support import kafka
from tests.support.acls import PASSWORD, Users, add_user, allow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka_workers"),
    pytest.mark.timeout(300),
    pytest.mark.apache_kafka("the packaged broker has no ACLs"),
]


def admitted(place: kafka.Place, users: Users | None, role: str, lacking: Permission, **environ: str) -> dict[str, str]:
    """The variables of a user who may do all that a role needs but for one right."""
    assert users is not None
    user = f"{place.prefix}{role}"
    add_user(users.admin, user, PASSWORD)
    allow(
        users.admin,
        {f"User:{user}": [each for each in permissions_of(role, place.environ | environ) if each != lacking]},
    )
    place.users = None
    return {
        "KAFKA_BOOTSTRAP_SERVERS": users.guarded_servers,
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD": PASSWORD,
        **environ,
    }


@pytest.mark.parametrize(
    ("resource", "name", "operation"),
    [
        (GROUP, "preprocess", "READ"),
        (TOPIC, "preprocess-requests", "READ"),
        (TOPIC, "training-data", "WRITE"),
        (TOPIC, "DLQ-preprocess-requests", "WRITE"),
    ],
)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_worker_names_the_right_that_it_lacks_and_goes_on_when_it_has_it(
    place: kafka.Place, users: Users | None, resource: str, name: str, operation: str, protocol: str
) -> None:
    lacking = Permission(resource, place.topic(name), operation)
    environ = admitted(place, users, "preprocess", lacking)
    place.send("preprocess-requests", b"bad")
    place.send("preprocess-requests", json.dumps({"dataset_name": "slice-0", "identifier": "x"}).encode())
    worker = place.start("preprocess", "--listen", **environ, KAFKA_GROUP_PROTOCOL=protocol)

    said = f"the permission to {lacking} is missing"
    place.until(lambda: [each for each in worker.events("waiting") if each["message"].endswith(said)], 120)
    assert users is not None
    allow(users.admin, {f"User:{environ['KAFKA_SASL_USERNAME']}": [lacking]})
    place.until(lambda: worker.events("handled") and worker.events("dead_letter"), 120)
    assert all(line.startswith("{") for line in worker.log.read_text().splitlines())


@pytest.mark.parametrize(
    ("role", "command", "resource", "name", "operation"),
    [
        ("flts-status", ["flts-status"], GROUP, "eval-promoter", "DESCRIBE"),
        ("flts-status", ["flts-status"], TOPIC, "model-training", "DESCRIBE"),
        ("flts-dlq", ["flts-dlq", "list"], GROUP, "flts-dlq", "READ"),
        ("flts-dlq", ["flts-dlq", "list"], TOPIC, "DLQ-training-data", "READ"),
        ("flts-dlq", ["flts-dlq", "replay", "--all"], TOPIC, "training-data", "WRITE"),
        ("flts-topics", ["flts-topics"], TOPIC, "training-data", "DESCRIBE"),
        ("flts-topics", ["flts-topics"], TOPIC, "training-data", "DESCRIBE_CONFIGS"),
        ("preprocess-once", ["flts-preprocess"], TOPIC, "training-data", "WRITE"),
    ],
)
def test_a_command_names_the_right_that_it_lacks(
    place: kafka.Place, users: Users | None, role: str, command: list[str], resource: str, name: str, operation: str
) -> None:
    lacking = Permission(resource, place.topic(name), operation)
    environ = admitted(place, users, role, lacking)
    place.send("DLQ-training-data", b"x", headers={"original_topic": place.topic("training-data")})
    if "replay" in command:
        command = [*command, place.topic("DLQ-training-data")]
    ended = place.run(*command, **environ, DATASET_NAME="slice-0", IDENTIFIER="x")
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.splitlines()[-1]
    named = str(lacking).removeprefix(lacking.operation)
    assert "the permission to " in last
    assert last.endswith(named) or f"{named}" in last
    assert "%" not in {line[:1] for line in ended.stderr.splitlines()}


def test_who_may_make_no_topic_is_told_so(place: kafka.Place, users: Users | None) -> None:
    lacking = Permission(TOPIC, f"{place.prefix}other-training-data", CREATE)
    environ = admitted(place, users, "flts-topics", lacking, FLTS_TOPIC_PREFIX=f"{place.prefix}other-")
    ended = place.run("flts-topics", **environ)
    assert ended.returncode == 2
    assert ended.stderr.endswith(f"cannot be made: the permission to {lacking} is missing\n")
