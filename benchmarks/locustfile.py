"""Steady load from clients: forecasts, liveness checks and downloads; run by `soak.py`.

Of ten requests eight are forecasts: most of a few steps after the stored data, some of a hundred after data of the
client's own. ``FLTS_SOAK`` names a JSON file with the gateway's address, the objects to download and a history.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

from locust import HttpUser, constant_throughput, task

_GIVEN: dict[str, Any] = json.loads(Path(os.environ["FLTS_SOAK"]).read_text())


class Client(HttpUser):
    """A client that sends five requests a second, if it is answered in time."""

    wait_time = constant_throughput(5)

    @task(7)
    def predict(self) -> None:
        """Request a few steps after the stored data."""
        steps = random.choice((1, 1, 1, 10, 48))  # noqa: S311
        self._forecast({"inference_length": steps}, steps, "/predict")

    @task(1)
    def predict_own(self) -> None:
        """Request many steps after rows sent with the request."""
        self._forecast({"inference_length": 100, "data": _GIVEN["history"]}, 100, "/predict with data")

    def _forecast(self, question: dict[str, Any], steps: int, name: str) -> None:
        with self.client.post("/predict", json=question, name=name, catch_response=True) as answer:
            if answer.status_code == 200 and len(answer.json()["predictions"]) != steps:
                answer.failure(f"not {steps} steps")

    @task(1)
    def healthz(self) -> None:
        """Check liveness."""
        self.client.get("/healthz")

    @task(1)
    def download(self) -> None:
        """Download an object from the gateway."""
        wanted = random.choice(_GIVEN["objects"])  # noqa: S311
        url = f"{_GIVEN['gateway']}/download/{wanted['name']}"
        with self.client.get(url, name="/download", catch_response=True) as answer:
            if answer.status_code == 200 and len(answer.content) != wanted["size"]:
                answer.failure(f"{len(answer.content)} of {wanted['size']} bytes")
