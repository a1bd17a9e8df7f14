"""How long stages wait for an MLflow that is away, and what they say meanwhile."""

import logging
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server
from threading import Thread

import pytest

from flts.boundary import retries
from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError, ServiceUnavailableError
from flts.tracking import Tracking, download_bundle, short_timeouts
from tests.support import faults
from tests.support.commands import run
from tests.support.series import make_data
from tests.support.services import Services, free_ports, mlflow_server
from tests.support.training import Place

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow_server")]

DEAD = "http://127.0.0.1:9"
LONG = 900  # far longer than anything here takes


@pytest.fixture
def waits(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was said of waiting."""
    caplog.set_level(logging.WARNING, "flts")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "flts"]


def test_a_server_that_stays_away_is_waited_for_and_said_so_once(waits: Callable[[], list[str]]) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"MLflow at .*:9 cannot be reached: nothing listens there"):
        Tracking(DEAD, wait_seconds=3).experiment("flts")
    assert waits() == [f"waiting, 3 s at most: MLflow at {DEAD} cannot be reached: nothing listens there"]


def test_a_long_wait_is_told_again_and_again(waits: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_SECONDS_BETWEEN_LINES", 0.0)
    with pytest.raises(ServiceUnavailableError):
        Tracking(DEAD, wait_seconds=5).experiment("flts")
    assert len(waits()) > 1


@pytest.mark.parametrize("seconds", [0, None, LONG])
def test_who_has_no_patience_waits_for_nothing(seconds: int | None, waits: Callable[[], list[str]]) -> None:
    tracking = Tracking(DEAD, wait_seconds=seconds)
    with short_timeouts() if seconds != 0 else ExitStack(), pytest.raises(ServiceUnavailableError):
        tracking.experiment("flts")
    assert not waits()


def test_a_stage_tells_what_it_waits_for_and_ends_with_exit_code_3(tmp_path: Path) -> None:
    write_processed(tmp_path / "data.parquet", make_data(150))
    command = "flts-train-gru --training-data data.parquet --output-dir out --hidden-size 4 --num-layers 1 --epochs 2"
    ended = run(tmp_path, *command.split(), "--mlflow-tracking-uri", DEAD, FLTS_PATIENCE_SECONDS="2")
    away = f"MLflow at {DEAD} cannot be reached: nothing listens there"
    assert ended.code == 3
    assert ended.stderr.splitlines() == [
        f"warning: flts: waiting, 2 s at most: {away}",
        f"flts-train-gru: {away}",
    ]


class Quiet(BaseHTTPRequestHandler):
    """Answers whatever is asked, if it is HTTP, with an error."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def without_tls() -> Iterator[str]:
    """The https address of a server that speaks plain HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[str]:
    """The http address of a server that speaks TLS alone: it ends every connection that begins otherwise."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True)
                except OSError:
                    connection.close()

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://nowhere.invalid:5000", "its name is not known here"),
        ("without_tls", r"it does not speak TLS there: http:// is meant, not https://"),
        ("with_tls", "its answers break off"),
    ],
)
def test_an_outage_is_told_as_what_it_is(address: str, said: str, request: pytest.FixtureRequest) -> None:
    uri = address if "://" in address else request.getfixturevalue(address)
    with pytest.raises(ServiceUnavailableError, match=f"^MLflow at {re.escape(uri)} cannot be reached: {said}$"):
        Tracking(uri, wait_seconds=1).experiment("flts")


@pytest.mark.parametrize("kind", ["500", "503", "reset"])
def test_a_server_that_recovers_is_waited_for(
    services_environ: Services, kind: faults.Fault, waits: Callable[[], list[str]]
) -> None:
    with faults.proxy(services_environ.mlflow_uri, faults.in_turn(kind, kind, kind)) as proxy:
        assert Tracking(proxy.url, wait_seconds=LONG).experiment("flts")
    assert proxy.seen[kind] == 3
    assert len(waits()) == 1


@pytest.mark.timeout(900)
def test_a_stage_that_starts_before_mlflow_trains_when_that_comes(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And eval and inference, which fetch a model, wait as well."""
    port = free_ports(1)[0]
    write_processed(tmp_path / "data.parquet", make_data(150))
    uri = f"http://127.0.0.1:{port}"
    place = Place(tmp_path / "data.parquet", uri, f"file://{tmp_path}/store", LONG)
    with ExitStack() as stack:

        class Starts(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.getMessage().startswith("waiting") and not running:
                    running.append(stack.enter_context(mlflow_server(tmp_path / "mlflow", services.s3, port)))

        running: list[str] = []
        logger, handler = logging.getLogger("flts"), Starts()
        logger.addHandler(handler)
        try:
            first = place.train(identifier="early")
            assert running
            stack.close()  # the server is away again
            running.clear()
            message = TrainedModel.parse(first.artifacts["model"].content, source="model")
            folder = download_bundle(uri, message, tmp_path / "bundle", wait_seconds=LONG)
            assert running
            assert (folder / "model.safetensors").is_file()
        finally:
            logger.removeHandler(handler)


def test_what_waiting_cannot_mend_is_not_waited_for(services_environ: Services, waits: Callable[[], list[str]]) -> None:
    with pytest.raises(BadInputError, match="does not answer as an MLflow server"):
        Tracking(f"{services_environ.mlflow_uri}/somewhere", wait_seconds=LONG).experiment("flts")
    assert not waits()
