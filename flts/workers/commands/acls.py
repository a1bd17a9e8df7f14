"""The command ``flts-acls``: allows a Kafka user what a worker or a command needs, and nothing else."""

import os
from collections.abc import Sequence
from typing import NoReturn

from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.workers.commands import common
from flts.workers.permissions import ROLES, Permission, rights
from flts.workers.settings import KafkaSettings, read_settings

COMMAND = "flts-acls"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    common.run(COMMAND, _grant, argv)


def _grant(argv: Sequence[str]) -> int:
    parser = common.parser(
        COMMAND,
        "Allow a Kafka user what workers and commands of FLTS need: one rule for each right. A second time nothing "
        "changes, and nothing is ever taken away.",
        "The variables that name topics and groups are read as by the workers. Who asks needs the right to ALTER the "
        "cluster.",
    )
    parser.add_argument("principal", help="who is allowed it, as Kafka writes users: User:train-gru")
    parser.add_argument("roles", nargs="+", choices=ROLES, metavar="role", help=f"what for: {', '.join(ROLES)}")
    given = parser.parse_args(argv)
    kind, _, name = given.principal.partition(":")
    if not (kind and name):
        raise BadInputError(f"{printable(given.principal)} is no user of Kafka: User:<name> is expected")
    settings = read_settings(os.environ)
    wanted = sorted({right for role in given.roles for right in rights(role, os.environ)})
    _allow(settings, given.principal, wanted)
    for right in wanted:
        print(f"{given.principal} may {right}")
    return 0


def _allow(settings: KafkaSettings, principal: str, wanted: Sequence[Permission]) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    from flts.workers.client import ANSWER_SECONDS, open_admin
    from flts.workers.kafka_errors import refusal

    bindings = [
        AclBinding(
            ResourceType[right.resource.upper()],
            right.name,
            ResourcePatternType.LITERAL,
            principal,
            "*",
            AclOperation[right.operation],
            AclPermissionType.ALLOW,
        )
        for right in wanted
    ]
    admin = open_admin(settings)  # kept: its answers come only while it is there
    for made in admin.create_acls(bindings, request_timeout=ANSWER_SECONDS).values():
        try:
            made.result()
        except KafkaException as error:
            raise refusal(f"{settings.where} takes no ACLs", error.args[0], "ALTER the cluster") from None
