"""Settings of Kafka, and names of its topics and groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from flts.boundary.files import readable
from flts.errors import BadInputError
from flts.params import Params
from flts.runtime.parameters import read_values, suggest
from flts.stage_interface import WorkerDeclaration
from flts.stages import STAGES

_PREFIX = "KAFKA_"
_SECRETS = ("kafka_sasl_password", "kafka_ssl_key_password")


class KafkaSettings(Params):
    """The environment variables for the connection to Kafka, under the names that its clients usually have."""

    kafka_bootstrap_servers: str = Field(..., description="host:port of some brokers, separated by commas")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = Field("", repr=False)
    kafka_sasl_password_file: str = ""
    kafka_ssl_ca_location: str = ""
    kafka_ssl_certificate_location: str = ""
    kafka_ssl_key_location: str = ""
    kafka_ssl_key_password: str = Field("", repr=False)
    kafka_ssl_key_password_file: str = ""
    kafka_ssl_endpoint_identification_algorithm: Literal["https", "none"] = "https"
    kafka_group_protocol: Literal["classic", "consumer"] = "classic"
    kafka_group_instance_id: str = ""
    kafka_session_timeout_ms: int = Field(45_000, ge=1000, le=1_800_000)
    kafka_max_poll_interval_ms: int = Field(300_000, ge=1000, le=86_400_000)

    @property
    def where(self) -> str:
        """The name of the brokers in sentences."""
        return f"Kafka at {self.kafka_bootstrap_servers}"

    def client(self) -> dict[str, Any]:
        """Return the configuration of every client of librdkafka.

        Raises:
            BadInputError: A file that a variable names cannot be read.
        """
        config: dict[str, Any] = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "client.id": "flts",
            "security.protocol": self.kafka_security_protocol,
            "allow.auto.create.topics": False,
            "reconnect.backoff.max.ms": 2000,
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        if "SASL" in self.kafka_security_protocol:
            if not self.kafka_sasl_username:
                raise BadInputError(
                    f"environment variable KAFKA_SASL_USERNAME is required for {self.kafka_security_protocol}"
                )
            config |= {
                "sasl.mechanism": self.kafka_sasl_mechanism,
                "sasl.username": self.kafka_sasl_username,
                "sasl.password": self._secret("kafka_sasl_password"),
            }
        if "SSL" in self.kafka_security_protocol:
            config["ssl.endpoint.identification.algorithm"] = self.kafka_ssl_endpoint_identification_algorithm
            for name in ("ca", "certificate", "key"):
                variable = f"kafka_ssl_{name}_location"
                if path := getattr(self, variable):
                    with readable(Path(path), f"environment variable {variable.upper()}: {path}"):
                        config[f"ssl.{name}.location"] = path
            if password := self._secret("kafka_ssl_key_password"):
                config["ssl.key.password"] = password
        return config

    def membership(self) -> dict[str, Any]:
        """Return the configuration of a group member; under KIP-848 the brokers decide most of it."""
        config: dict[str, Any] = {"group_protocol": self.kafka_group_protocol}
        if self.kafka_group_instance_id:
            config["group_instance_id"] = self.kafka_group_instance_id
        if self.kafka_group_protocol == "classic":
            config |= {
                "partition_assignment_strategy": "cooperative-sticky",
                "session_timeout_ms": self.kafka_session_timeout_ms,
                "heartbeat_interval_ms": max(300, min(3000, self.kafka_session_timeout_ms // 3)),
            }
        return config

    def _secret(self, name: str) -> str:
        path = getattr(self, f"{name}_file")
        if not path:
            return str(getattr(self, name))
        with readable(Path(path), f"environment variable {name.upper()}_FILE: {path}"):
            return Path(path).read_text(encoding="utf-8").strip()


def read_settings(environ: Mapping[str, str]) -> KafkaSettings:
    """Read the variables; an empty one counts as unset.

    Raises:
        BadInputError: One is missing or wrong; the sentence names it.
    """
    checked, _ = read_values(KafkaSettings, environ, {name: name.upper() for name in KafkaSettings.model_fields})
    for name in _SECRETS:
        if getattr(checked, name) and getattr(checked, f"{name}_file"):
            raise BadInputError(f"environment variables {name.upper()} and {name.upper()}_FILE are both set: leave one")
    return checked


@dataclass(frozen=True)
class Topics:
    """The topics of one stage's worker, and its consumer group.

    Attributes:
        group: The consumer group.
        consumes: The topics that it reads, by their declared names.
        produces: The topics that it writes, by their declared names.
        dead_letters: The topics of dead letters, by the topic that these come from.
    """

    group: str
    consumes: Mapping[str, str]
    produces: Mapping[str, str]
    dead_letters: Mapping[str, str]


PREFIX_VARIABLE = "FLTS_TOPIC_PREFIX"
DEAD_LETTER_PREFIX = "DLQ-"
# The group that remembers which dead letters were replayed.
DEAD_LETTER_GROUP = "flts-dlq"

# The declared workers, by stage.
WORKERS: Mapping[str, WorkerDeclaration] = {stage.name: stage.worker for stage in STAGES.values() if stage.worker}
# The topics that some worker reads, and all topics, in the order in which the stages follow each other.
CONSUMED = tuple(dict.fromkeys(topic for worker in WORKERS.values() for topic in worker.consumes))
TOPICS = tuple(dict.fromkeys(topic for worker in WORKERS.values() for topic in (*worker.consumes, *worker.produces)))


def prefix(environ: Mapping[str, str]) -> str:
    """Return the prefix of all topics and groups, for deployments that share a cluster."""
    return environ.get(PREFIX_VARIABLE, "")


def dead_letter_topic(topic: str, prefix: str) -> str:
    """Return the topic for the dead letters of a topic."""
    return f"{prefix}{DEAD_LETTER_PREFIX}{topic.removeprefix(prefix)}"


def read_topics(stage: str, environ: Mapping[str, str]) -> Topics:
    """Return what the worker of a stage reads and writes, with the names that the environment gives.

    Raises:
        BadInputError: The stage has no worker.
    """
    worker = WORKERS.get(stage)
    if worker is None:
        raise BadInputError(f"the stage {stage} has no part in Kafka mode: its declaration names no worker")
    begin = prefix(environ)

    def named(names: Mapping[str, str]) -> dict[str, str]:
        return {topic: begin + (environ.get(variable) or topic) for topic, variable in names.items()}

    read = named(worker.consumes)
    dead = {topic: dead_letter_topic(topic, begin) for topic in read.values()}
    if renamed := environ.get(worker.dead_letter_variable):
        dead = dict.fromkeys(dead, begin + renamed)
    group = begin + (environ.get(worker.group_variable) or worker.group)
    return Topics(group, read, named(worker.produces), dead)


# Variables of the older deployment, and what takes their place.
_OBSOLETE = {
    "TRAIN_TEST_SPLIT": "the parts are fixed: 70 % fit, 15 % validation, 15 % selection",
    "LOOKBACK_RUNS": "eval compares the models of one config_hash",
    "SKIP_DUPLICATE_CONFIGS": "a repeat always finds the earlier result",
    "QUEUE_WORKERS": "start more workers of the same group instead",
    "USE_QUEUE": "Kafka is the queue",
    "AUTO_OFFSET_RESET": "a new group always begins with the first message",
}
_OBSOLETE_PREFIX = "ENABLE_"


def warnings(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that has no meaning any more, or is probably misspelt."""
    found = [f"environment variable {name} is ignored: {now}" for name, now in _OBSOLETE.items() if environ.get(name)]
    found += [
        f"environment variable {name} is ignored: there is nothing to switch on"
        for name in sorted(environ)
        if name.startswith(_OBSOLETE_PREFIX) and environ[name]
    ]
    known = [name.upper() for name in KafkaSettings.model_fields]
    found += [
        f"environment variable {name} is ignored: FLTS has no such variable{suggest(name, known)}"
        for name in sorted(environ)
        if name.startswith(_PREFIX) and name not in known
    ]
    return found
