"""How Kafka is reached and what topics are called: every variable, and what is said of those that mean nothing."""

import pytest
from confluent_kafka.admin import AdminClient

from flts.errors import BadInputError
from flts.lazy import resolve
from flts.stages import STAGES
from flts.workers.settings import WORKERS, KafkaSettings, dead_letter_topic, read_settings, read_topics, warnings

SERVERS = {"KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:9092"}
SASL = {**SERVERS, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_USERNAME": "flts"}
SECRET, KEY_SECRET = {"KAFKA_SASL_PASSWORD": "secret"}, {"KAFKA_SSL_KEY_PASSWORD": "secret"}
NO_SERVERS = "environment variable KAFKA_BOOTSTRAP_SERVERS is required: host:port of some brokers, separated by commas"


def client(**variables: str) -> dict[str, object]:
    return read_settings({**SERVERS, **variables}).client()


def sentence(environ: dict[str, str]) -> str:
    with pytest.raises(BadInputError) as caught:
        read_settings(environ).client()
    return str(caught.value)


def test_servers_alone_make_a_plain_connection():
    made = client()
    assert (made["bootstrap.servers"], made["security.protocol"]) == ("a:9092,b:9092", "PLAINTEXT")
    assert made["allow.auto.create.topics"] is False
    assert not [name for name in made if name.startswith(("sasl", "ssl"))]


def test_credentials_go_to_the_client_which_knows_all_of_the_settings():
    made = client(**SASL, **SECRET, KAFKA_SASL_MECHANISM="SCRAM-SHA-256")
    assert (made["sasl.username"], made["sasl.password"], made["sasl.mechanism"]) == (
        "flts",
        "secret",
        "SCRAM-SHA-256",
    )
    AdminClient({**made, "log_level": 0})  # it refuses what it does not know


def test_scram_with_the_longer_digest_is_the_default():
    assert client(**SASL)["sasl.mechanism"] == "SCRAM-SHA-512"


def test_certificates_and_key_go_to_the_client(tmp_path):
    paths = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    for path in paths.values():
        path.touch()
    made = client(
        KAFKA_SECURITY_PROTOCOL="SSL",
        **KEY_SECRET,
        KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM="none",
        **{f"KAFKA_SSL_{name.upper()}_LOCATION": str(path) for name, path in paths.items()},
    )
    assert {made[f"ssl.{name}.location"] for name in paths} == {str(path) for path in paths.values()}
    assert (made["ssl.key.password"], made["ssl.endpoint.identification.algorithm"]) == ("secret", "none")


def test_the_name_of_a_broker_is_checked_unless_somebody_says_otherwise():
    assert client(KAFKA_SECURITY_PROTOCOL="SSL")["ssl.endpoint.identification.algorithm"] == "https"


def test_times_are_read():
    settings = read_settings({**SERVERS, "KAFKA_SESSION_TIMEOUT_MS": "6000", "KAFKA_MAX_POLL_INTERVAL_MS": "10000"})
    assert (settings.kafka_session_timeout_ms, settings.kafka_max_poll_interval_ms) == (6000, 10_000)


@pytest.mark.parametrize(
    ("name", "option", "others"),
    [
        ("KAFKA_SASL_PASSWORD_FILE", "sasl.password", SASL),
        ("KAFKA_SSL_KEY_PASSWORD_FILE", "ssl.key.password", {"KAFKA_SECURITY_PROTOCOL": "SSL"}),
    ],
)
def test_a_secret_may_lie_in_a_file(name, option, others, tmp_path):
    path = tmp_path / "secret"
    path.write_text("from a file\n")
    assert client(**others, **{name: str(path)})[option] == "from a file"


def test_secrets_are_not_shown():
    variables = {"KAFKA_SASL_PASSWORD": "hunter2", "KAFKA_SSL_KEY_PASSWORD": "hunter2"}
    assert "hunter2" not in repr(read_settings({**SERVERS, **variables}))


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, NO_SERVERS),
        ({"KAFKA_BOOTSTRAP_SERVERS": ""}, NO_SERVERS),
        ({**SERVERS, "KAFKA_SECURITY_PROTOCOL": "TLS"},
         "environment variable KAFKA_SECURITY_PROTOCOL must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, got TLS"),
        ({**SASL, "KAFKA_SASL_MECHANISM": "GSSAPI"},
         "environment variable KAFKA_SASL_MECHANISM must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, got GSSAPI"),
        ({**SASL, "KAFKA_SASL_USERNAME": ""},
         "environment variable KAFKA_SASL_USERNAME is required for SASL_PLAINTEXT"),
        ({**SASL, "KAFKA_SASL_PASSWORD": "a", "KAFKA_SASL_PASSWORD_FILE": "/b"},
         "environment variables KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are both set: leave one"),
        ({**SERVERS, "KAFKA_SSL_KEY_PASSWORD": "a", "KAFKA_SSL_KEY_PASSWORD_FILE": "/b"},
         "environment variables KAFKA_SSL_KEY_PASSWORD and KAFKA_SSL_KEY_PASSWORD_FILE are both set: leave one"),
        ({**SASL, "KAFKA_SASL_PASSWORD_FILE": "/nowhere"},
         "environment variable KAFKA_SASL_PASSWORD_FILE: /nowhere does not exist"),
        ({**SERVERS, "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA_LOCATION": "/nowhere"},
         "environment variable KAFKA_SSL_CA_LOCATION: /nowhere does not exist"),
        ({**SERVERS, "KAFKA_SESSION_TIMEOUT_MS": "6s"},
         "environment variable KAFKA_SESSION_TIMEOUT_MS must be a whole number, got 6s"),
        ({**SERVERS, "KAFKA_MAX_POLL_INTERVAL_MS": "1"},
         "environment variable KAFKA_MAX_POLL_INTERVAL_MS must be at least 1000, got 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_that_names_the_variable(environ, said):
    assert sentence(environ) == said


@pytest.mark.parametrize(
    ("stage", "group", "reads", "writes"),
    [
        ("preprocess", "preprocess", {"preprocess-requests"}, {"training-data", "inference-data"}),
        ("train-gru", "train-gru", {"training-data"}, {"model-training"}),
        ("train-lstm", "train-lstm", {"training-data"}, {"model-training"}),
        ("train-prophet", "nonml-prophet", {"training-data"}, {"model-training"}),
        ("eval", "eval-promoter", {"model-training"}, {"model-selected"}),
        ("inference", "batch-forecasting-v2", {"inference-data", "model-selected"}, {"performance-eval"}),
    ],
)
def test_topics_and_groups_are_those_of_before(stage, group, reads, writes):
    topics = read_topics(stage, {})
    assert (topics.group, set(topics.consumes.values()), set(topics.produces.values())) == (group, reads, writes)
    assert topics.dead_letters == {name: f"DLQ-{name}" for name in reads}


def test_every_stage_has_topics():
    assert all(read_topics(stage, {}).group for stage in STAGES)


@pytest.mark.parametrize(
    ("stage", "variables", "names"),
    [
        ("preprocess", ("CONSUMER_GROUP_ID", "CONSUMER_TOPIC", "PRODUCER_TOPIC_0", "PRODUCER_TOPIC_1"),
         ("group", "preprocess-requests", "training-data", "inference-data")),
        ("train-gru", ("CONSUMER_GROUP_ID", "CONSUMER_TOPIC", "PRODUCER_TOPIC"),
         ("group", "training-data", "model-training")),
        ("train-prophet", ("CONSUMER_GROUP_ID", "CONSUMER_TOPIC", "PRODUCER_TOPIC"),
         ("group", "training-data", "model-training")),
        ("eval", ("EVAL_GROUP_ID", "MODEL_TRAINING_TOPIC", "MODEL_SELECTED_TOPIC"),
         ("group", "model-training", "model-selected")),
        ("inference", ("CONSUMER_GROUP_ID", "CONSUMER_TOPIC_0", "PROMOTION_TOPIC", "PRODUCER_TOPIC"),
         ("group", "inference-data", "model-selected", "performance-eval")),
    ],
)  # fmt: skip
def test_variables_of_the_older_deployment_rename_group_and_topics(stage, variables, names):
    topics = read_topics(stage, {variable: f"my-{variable.lower()}" for variable in variables})
    renamed = {"group": topics.group, **topics.consumes, **topics.produces}
    assert renamed == {name: f"my-{variable.lower()}" for variable, name in zip(variables, names, strict=True)}
    assert set(topics.dead_letters.values()) == {f"DLQ-{topic}" for topic in topics.consumes.values()}


def test_eval_may_send_its_dead_letters_elsewhere():
    topics = read_topics("eval", {"DLQ_MODEL_SELECTED": "DLQ-model-selected"})
    assert topics.dead_letters == {"model-training": "DLQ-model-selected"}
    assert (
        read_topics("inference", {"DLQ_MODEL_SELECTED": "x"}).dead_letters == read_topics("inference", {}).dead_letters
    )


def test_a_prefix_stands_before_every_name():
    environ = {"FLTS_TOPIC_PREFIX": "blue-", "DLQ_MODEL_SELECTED": "DLQ-model-selected", "EVAL_GROUP_ID": "mine"}
    topics = read_topics("eval", environ)
    assert (topics.group, topics.consumes, topics.produces, topics.dead_letters) == (
        "blue-mine",
        {"model-training": "blue-model-training"},
        {"model-selected": "blue-model-selected"},
        {"blue-model-training": "blue-DLQ-model-selected"},
    )
    assert dead_letter_topic("blue-model-training", "blue-") == "blue-DLQ-model-training"


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("TRAIN_TEST_SPLIT", "the parts are fixed: 70 % fit, 15 % validation, 15 % selection"),
        ("LOOKBACK_RUNS", "eval compares the models of one config_hash"),
        ("SKIP_DUPLICATE_CONFIGS", "a repeat always finds the earlier result"),
        ("QUEUE_WORKERS", "start more workers of the same group instead"),
        ("USE_QUEUE", "Kafka is the queue"),
        ("AUTO_OFFSET_RESET", "a new group always begins with the first message"),
        ("ENABLE_DLQ", "there is nothing to switch on"),
        ("KAFKA_BOOTSTRAP_SERVER", "FLTS has no such variable; did you mean KAFKA_BOOTSTRAP_SERVERS?"),
        ("KAFKA_HEAP_OPTS", "FLTS has no such variable"),
    ],
)
def test_a_variable_that_means_nothing_is_named_once_with_what_does(name, now):
    assert warnings({**SERVERS, name: "1"}) == [f"environment variable {name} is ignored: {now}"]


def test_nothing_is_said_of_variables_that_mean_something_or_are_empty():
    known = {name.upper(): "1" for name in KafkaSettings.model_fields}
    assert warnings({**known, "QUEUE_WORKERS": "", "ENABLE_X": "", "QUEUE_MAXSIZE": "5", "CONSUMER_TOPIC": "x"}) == []


def test_a_worker_divides_partitions_by_the_classic_protocol_unless_somebody_says_otherwise():
    made = read_settings({**SERVERS, "KAFKA_SESSION_TIMEOUT_MS": "6000"}).membership()
    assert made == {
        "group_protocol": "classic",
        "partition_assignment_strategy": "cooperative-sticky",
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 2000,
    }


def test_what_brokers_decide_by_the_newer_protocol_is_not_sent_to_them():
    variables = {"KAFKA_GROUP_PROTOCOL": "consumer", "KAFKA_GROUP_INSTANCE_ID": "eval-0"}
    assert read_settings({**SERVERS, **variables}).membership() == {
        "group_protocol": "consumer",
        "group_instance_id": "eval-0",
    }


def test_every_declared_handler_can_be_imported():
    assert all(callable(resolve(worker.handler)) for worker in WORKERS.values())
    assert callable(resolve(WORKERS["preprocess"].messages_of_run))


def test_a_stage_without_a_declared_worker_has_no_part_in_kafka_mode():
    with pytest.raises(BadInputError, match="the stage report has no part in Kafka mode"):
        read_topics("report", {})
