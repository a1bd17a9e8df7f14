"""What a worker's process makes of what a stage says: whose fault it is, and what follows."""

import errno
import sys
from pathlib import Path

import pytest

from flts.errors import BadInputError, RefusedError, ServiceUnavailableError
from flts.os_errors import NO_MEMORY
from flts.params import EvalParams
from flts.runtime.logs import JsonReporter
from flts.stages import STAGES
from flts.store.file import FileStore
from flts.workers.child import _work
from flts.workers.desk import Desk
from flts.workers.messages import Outgoing, Received
from flts.workers.replies import Dead, Done, Failed, Order, Reply, Waiting
from flts.workers.settings import read_topics

RECEIVED = Received("model-training", 1, 5, 1_700_000_000_000, b"key", b"{}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    params = EvalParams(config_hash="", identifier="", gateway_url=f"file://{tmp_path}")
    reporter = JsonReporter(STAGES["eval"], sys.stderr)
    return Desk(STAGES["eval"], params, read_topics("eval", {}), FileStore(tmp_path), reporter, lambda _: None)


def handle(desk: Desk, error: BaseException | None = None, cause: BaseException | None = None) -> Reply:
    """Handle a message whose work ends so."""

    def role(_received: Received, _desk: Desk) -> list[Outgoing]:
        if error is None:
            return [Outgoing("model-selected", b"promotion", b"{}")]
        try:
            if cause:
                raise cause
        except OSError:
            raise error from None
        raise error

    return _work(role, Order(RECEIVED, first=True), desk, 3)


def test_what_comes_of_a_message_carries_its_request_id(desk: Desk) -> None:
    reply = handle(desk)
    assert isinstance(reply, Done)
    (outgoing,) = reply.outgoing
    assert dict(outgoing.headers)["request_id"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ServiceUnavailableError("MLflow cannot be reached"), None),
        (RefusedError("S3 refused the credentials"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (BadInputError("cannot write x"), OSError(errno.ENOSPC, "No space left on device")),
        (BadInputError("cannot write x"), OSError(errno.EROFS, "Read-only file system")),
    ],
)
def test_what_no_message_can_help_is_waited_for_and_not_counted(
    desk: Desk, error: Exception, cause: Exception | None
) -> None:
    for _ in range(20):
        assert isinstance(handle(desk, error, cause), Waiting)
    assert isinstance(handle(desk), Done)


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), MemoryError()])
def test_what_may_not_happen_again_is_tried_three_times(desk: Desk, error: Exception) -> None:
    reason = NO_MEMORY if isinstance(error, MemoryError) else "ZeroDivisionError: oh"
    assert [handle(desk, error) for _ in range(3)] == [Failed(reason), Failed(reason), Dead(reason, 3, bad=False)]


def test_a_bad_message_is_dead_at_once(desk: Desk) -> None:
    assert handle(desk, BadInputError("it is no message")) == Dead("it is no message", 1, bad=True)
