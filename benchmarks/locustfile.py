"""What clients ask all day: forecasts, whether the server lives, and what lies in the store. `soak.py` runs it.

Of ten requests eight are forecasts: most of a few steps onward from the stored data, some of a hundred from data of the
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
    """A client that asks five times a second, if it is answered in time."""

    wait_time = constant_throughput(5)

    @task(7)
    def predict(self) -> None:
        """Ask for a few steps behind the stored data."""
        steps = random.choice((1, 1, 1, 10, 48))  # noqa: S311
        self._forecast({"inference_length": steps}, steps, "/predict")

    @task(1)
    def predict_own(self) -> None:
        """Ask for many steps behind rows of one's own."""
        self._forecast({"inference_length": 100, "data": _GIVEN["history"]}, 100, "/predict with data")

    def _forecast(self, question: dict[str, Any], steps: int, name: str) -> None:
        with self.client.post("/predict", json=question, name=name, catch_response=True) as answer:
            if answer.status_code == 200 and len(answer.json()["predictions"]) != steps:
                answer.failure(f"not {steps} steps")

    @task(1)
    def healthz(self) -> None:
        """Ask whether the server lives."""
        self.client.get("/healthz")

    @task(1)
    def download(self) -> None:
        """Fetch an object from the gateway, whole."""
        wanted = random.choice(_GIVEN["objects"])  # noqa: S311
        url = f"{_GIVEN['gateway']}/download/{wanted['name']}"
        with self.client.get(url, name="/download", catch_response=True) as answer:
            if answer.status_code == 200 and len(answer.content) != wanted["size"]:
                answer.failure(f"{len(answer.content)} of {wanted['size']} bytes")
