"""The command ``flts-acls``: gives a Kafka user the permissions that a worker or command needs, and no others."""

import os
from collections.abc import Sequence
from typing import NoReturn

from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.workers.commands import common
from flts.workers.permissions import ROLES, Permission, permissions_of
from flts.workers.settings import KafkaSettings, read_settings

COMMAND = "flts-acls"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    common.run(COMMAND, _grant, argv)


def _grant(argv: Sequence[str]) -> int:
    parser = common.parser(
        COMMAND,
        "Give a Kafka user the permissions that workers and commands of FLTS need, one rule for each. A second run "
        "changes nothing, and no permission is ever taken away.",
        "The variables that name topics and groups are those of the workers. The command needs the permission to "
        "ALTER the cluster.",
    )
    parser.add_argument("principal", help="the user, as Kafka writes it: User:train-gru")
    parser.add_argument(
        "roles",
        nargs="+",
        choices=ROLES,
        metavar="role",
        help=f"worker or command that the user runs: {', '.join(ROLES)}",
    )
    arguments = parser.parse_args(argv)
    kind, _, name = arguments.principal.partition(":")
    if not (kind and name):
        raise BadInputError(f"{printable(arguments.principal)} is not a Kafka user: User:<name> is expected")
    settings = read_settings(os.environ)
    permissions = sorted({permission for role in arguments.roles for permission in permissions_of(role, os.environ)})
    _allow(settings, arguments.principal, permissions)
    for permission in permissions:
        print(f"{arguments.principal} may {permission}")
    return 0


def _allow(settings: KafkaSettings, principal: str, permissions: Sequence[Permission]) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (  # type: ignore[attr-defined]
        AclBinding,
        AclOperation,
        AclPermissionType,
        ResourcePatternType,
        ResourceType,
    )

    from flts.workers.client import ANSWER_SECONDS, open_admin
    from flts.workers.kafka_errors import request_error

    bindings = [
        AclBinding(
            ResourceType[permission.resource.upper()],
            permission.name,
            ResourcePatternType.LITERAL,
            principal,
            "*",
            AclOperation[permission.operation],
            AclPermissionType.ALLOW,
        )
        for permission in permissions
    ]
    admin = open_admin(settings)  # kept in a variable: answers come only while it exists
    for made in admin.create_acls(bindings, request_timeout=ANSWER_SECONDS).values():
        try:
            made.result()
        except KafkaException as error:
            raise request_error(f"{settings.where} does not accept ACLs", error.args[0], "ALTER the cluster") from None
