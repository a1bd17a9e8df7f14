"""What a worker's process makes of what a stage says: whose fault it is, and what follows."""

import errno
import sys
from pathlib import Path

import pytest

from flts.diagnostics.system import NO_MEMORY
from flts.errors import BadInputError, RefusedError, ServiceUnavailableError
from flts.params import EvalParams
from flts.runtime.reporters import JsonReporter
from flts.stages import STAGES
from flts.store.file import FileStore
from flts.workers.messages import OutgoingMessage, ReceivedMessage
from flts.workers.outcomes import Completed, DeadLettered, Failed, Postponed, Reply, WorkItem
from flts.workers.settings import read_topics
from flts.workers.stage_runner import StageRunner
from flts.workers.worker_process import WorkerSpec, _work

RECEIVED = ReceivedMessage("model-training", 1, 5, 1_700_000_000_000, b"key", b"{}")


@pytest.fixture
def runner(tmp_path: Path) -> StageRunner:
    params = EvalParams(config_hash="", identifier="", gateway_url=f"file://{tmp_path}")
    reporter = JsonReporter(STAGES["eval"], sys.stderr)
    return StageRunner(STAGES["eval"], params, read_topics("eval", {}), FileStore(tmp_path), reporter, lambda _: None)


def handle(runner: StageRunner, error: BaseException | None = None, cause: BaseException | None = None) -> Reply:
    """Handle a message whose work ends so."""

    def handler(_received: ReceivedMessage, _runner: StageRunner) -> list[OutgoingMessage]:
        if error is None:
            return [OutgoingMessage("model-selected", b"promotion", b"{}")]
        try:
            if cause:
                raise cause
        except OSError:
            raise error from None
        raise error

    spec = WorkerSpec("eval", runner.params, runner.topics, 3, (), "our-promotions")
    return _work(handler, WorkItem(RECEIVED, first=True), runner, spec)


def test_what_comes_of_a_message_carries_its_request_id(runner: StageRunner) -> None:
    reply = handle(runner)
    assert isinstance(reply, Completed)
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
    runner: StageRunner, error: Exception, cause: Exception | None
) -> None:
    for _ in range(20):
        assert isinstance(handle(runner, error, cause), Postponed)
    assert isinstance(handle(runner), Completed)


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), MemoryError()])
def test_what_may_not_happen_again_is_tried_three_times(runner: StageRunner, error: Exception) -> None:
    reason = NO_MEMORY if isinstance(error, MemoryError) else "ZeroDivisionError: oh"
    assert [handle(runner, error) for _ in range(3)] == [
        Failed(reason),
        Failed(reason),
        DeadLettered(reason, 3, invalid=False),
    ]


def test_a_bad_message_is_dead_at_once(runner: StageRunner) -> None:
    assert handle(runner, BadInputError("it is no message")) == DeadLettered("it is no message", 1, invalid=True)
