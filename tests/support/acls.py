"""A Kafka user for each worker and command, who may do what docs/kafka.md says that it needs, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from flts.workers.permissions import ROLES, Permission, permissions_of
from tests.support.brokers import Started, await_answer

PASSWORD = "a-password-of-the-tests"  # noqa: S105
_SECONDS = 60


def role_of(command: str, arguments: Sequence[str]) -> str | None:
    """The role in which a command talks to Kafka, if it does."""
    if command == "flts-preprocess":
        return "preprocess" if "--listen" in arguments else "preprocess-once"
    stage = command.removeprefix("flts-")
    return next((role for role in ROLES if role in (command, stage)), None)


@dataclass
class Users:
    """The users of brokers that ask who comes and look at ACLs; ``servers`` lets everybody in, for the tests."""

    servers: str
    guarded_servers: str
    admin: AdminClient = field(init=False)
    _allowed: set[tuple[str, Permission]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.admin = await_answer(self.servers)
        for role in ROLES:
            add_user(self.admin, role, PASSWORD)

    def admit(self, role: str, environ: Mapping[str, str]) -> dict[str, str]:
        """Allow a role what it needs in an environment, and return the variables with which it comes in."""
        wanted = {(role, right) for right in permissions_of(role, environ)} - self._allowed
        allow(self.admin, {f"User:{role}": [right for _, right in wanted]})
        self._allowed |= wanted
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.guarded_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_USERNAME": role,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }


def users_of(broker: Started) -> Users:
    """Make the users, of brokers that were started with ACLs."""
    return Users(broker.servers, broker.guarded_servers)


def add_user(admin: AdminClient, name: str, password: str, mechanism: str = "SCRAM-SHA-512") -> None:
    """Tell brokers of a user."""
    info = ScramCredentialInfo(ScramMechanism[mechanism.replace("-", "_")], 4096)
    user = UserScramCredentialUpsertion(name, info, password.encode())
    for answer in admin.alter_user_scram_credentials([user]).values():
        answer.result(timeout=_SECONDS)


def allow(admin: AdminClient, wanted: Mapping[str, Sequence[Permission]]) -> None:
    """Allow users something."""
    bindings = [
        AclBinding(
            ResourceType[right.resource.upper()],
            right.name,
            ResourcePatternType.LITERAL,
            user,
            "*",
            AclOperation[right.operation],
            AclPermissionType.ALLOW,
        )
        for user, found in wanted.items()
        for right in found
    ]
    for answer in (admin.create_acls(bindings) if bindings else {}).values():
        answer.result(timeout=_SECONDS)
