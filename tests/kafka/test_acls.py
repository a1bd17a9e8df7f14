"""Users who may do only what the table of docs/kafka.md gives their role.

On Apache Kafka all tests that share a broker run like that, each worker and command as a user of its own (``Users``).
Here is shown that ``flts-acls`` gives exactly these rights, and that they are needed.
"""

import json

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from flts.workers.permissions import ROLES, permissions_of
from tests.support import kafka
from tests.support.acls import PASSWORD, Users, add_user

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka_workers"),
    pytest.mark.timeout(900),
    pytest.mark.apache_kafka("the packaged broker has no ACLs"),
]
ADMITTED = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_PASSWORD": PASSWORD}


@pytest.fixture
def guard(users: Users | None) -> Users:
    """The users of a broker that looks at ACLs."""
    if users is None:
        pytest.fail("KAFKA_BOOTSTRAP_SERVERS is set beside KAFKA_START: these brokers may have no ACLs")
    return users


def granted(guard: Users, user: str) -> set[tuple[str, str, str]]:
    """Resource, name and operation of all that a user may do."""
    anything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, user, None, AclOperation.ANY, AclPermissionType.ANY
    )
    found = guard.admin.describe_acls(anything).result(timeout=60)
    assert all(each.permission_type == AclPermissionType.ALLOW for each in found)
    return {(each.restype.name.lower(), each.name, each.operation.name) for each in found}


def test_the_command_allows_what_the_table_says_and_nothing_else(place: kafka.Place, guard: Users) -> None:
    for role in ROLES:
        for _ in range(2 if role == "eval" else 1):  # a second time nothing changes
            ended = place.run("flts-acls", f"User:{place.prefix}{role}", role)
            assert (ended.returncode, ended.stderr) == (0, "")
        expected = {(each.resource, each.name, each.operation) for each in permissions_of(role, place.environ)}
        assert granted(guard, f"User:{place.prefix}{role}") == expected
        assert ended.stdout.count(f"User:{place.prefix}{role} may ") == len(expected)


def test_a_worker_works_with_what_the_command_allows_and_one_without_waits(place: kafka.Place, guard: Users) -> None:
    user = f"{place.prefix}somebody"
    add_user(guard.admin, user, PASSWORD)
    admitted = ADMITTED | {"KAFKA_BOOTSTRAP_SERVERS": guard.guarded_servers, "KAFKA_SASL_USERNAME": user}
    place.users = None
    assert place.run("flts-acls", f"User:{user}", "train-gru").returncode == 0
    place.send("model-training", json.dumps({"v": 3}).encode())

    worker = place.start("eval", **admitted)  # whose topics a trainer may not read
    place.until(lambda: worker.events("waiting") or worker.process.poll() is not None)
    assert not worker.events("received")
    worker.kill()

    assert place.run("flts-acls", f"User:{user}", "eval").returncode == 0
    worker = place.start("eval", **admitted)
    place.until(lambda: place.messages("DLQ-model-training"))
    assert worker.terminate() == 0
