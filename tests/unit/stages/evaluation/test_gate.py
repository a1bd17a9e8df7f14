"""The gate of eval with real bundles: what is held, what cannot be compared, and that both see the same rows."""

import json
import shutil
import threading
from dataclasses import replace
from itertools import product

import pytest

from flts.contracts import Promotion
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError
from flts.params import InferenceParams
from flts.stage_interface import Context, InputArtifact
from flts.stages.forecasting.stage import run as forecast
from flts.stages.selection import SelectionForecasts
from flts.store.file import FileStore
from tests.support.champions import evaluate, noise, off_by, scored, trained, until, write_metrics

BUCKET = "model-promotion"
PRODUCTION = "station/current.json"
GATES = ("none", "baseline", "champion", "both")
CHAMPIONS = ("none", "worse", "better", "not comparable")


@pytest.fixture(scope="module")
def data():
    return noise()


@pytest.fixture(scope="module")
def training_data(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "processed_data.parquet"
    write_processed(path, data)
    return path


@pytest.fixture(scope="module")
def forecasters(data):
    return {offset: off_by(data, offset) for offset in (0.0, 1.0, 2.0)}


@pytest.fixture(scope="module")
def models(data, forecasters, tmp_path_factory):
    """Models of three qualities that did not learn from the selection part.

    ``old`` is of an older version, which does not say so and kept no forecasts; ``refitted`` learned from every row.
    """
    folder, honest = tmp_path_factory.mktemp("models"), until(data, data.parts.validation_end - 1)
    made = {
        name: trained(folder / name, data, forecasters[offset], minute=minute, trained_until=when)
        for name, offset, minute, when in (
            ("good", 0.0, 1, honest),
            ("fair", 1.0, 2, honest),
            ("bad", 2.0, 1, honest),
            ("old", 0.0, 1, None),
            ("refitted", 0.0, 1, until(data, len(data) - 1)),
            ("later", 0.0, 3, honest),
        )
    }
    (made["old"].folder / "selection.json").unlink()
    return made


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture
def judge(tmp_path, store, training_data):
    """Evaluates a model; every call in the same folder."""

    def call(model, gate="champion", **given):
        return evaluate(tmp_path / "eval", model, store, **{"training_data": training_data, "gate": gate} | given)

    return call


def decision(result):
    return Promotion.parse(result.artifacts["promotion_metadata"].content, source="promotion_metadata")


def selected(result):
    return Promotion.parse(result.artifacts["selected_model"].content, source="selected_model")


def keys(store):
    return [info.key for info in store.list(BUCKET)]


def in_production(store):
    return Promotion.parse(store.get(BUCKET, PRODUCTION)[0], source=PRODUCTION).run_id


def promoted(models, tmp_path, store, name):
    evaluate(tmp_path / "before", models[name], store, gate="none")


@pytest.mark.parametrize(
    ("gate", "persistence", "linear", "champion"), [*product(GATES, (True, False), (True, False), CHAMPIONS)]
)
def test_truth_table(models, store, judge, tmp_path, gate, persistence, linear, champion):
    if name := {"worse": "bad", "better": "good", "not comparable": "old"}.get(champion):
        promoted(models, tmp_path, store, name)
    challenger = models["fair"]
    baselines = {
        name: challenger.scores.composite * (2 if beaten else 0.5)
        for name, beaten in (("persistence", persistence), ("linear", linear))
    }
    write_metrics(challenger.folder / "metrics.json", challenger.scores, **baselines)

    result = judge(challenger, gate)

    held = (gate in ("baseline", "both") and not (persistence and linear)) or (
        gate in ("champion", "both") and champion == "better"
    )
    told = decision(result)
    assert (told.status, told.operation) == ("HELD" if held else "PROMOTED", "Promotion")
    assert told.run_id == challenger.message.run_id
    if not held:
        assert selected(result) == told
        assert in_production(store) == challenger.message.run_id
    elif name:
        assert selected(result).run_id == in_production(store) == models[name].message.run_id
    else:
        assert selected(result) == told
        assert len(keys(store)) == 1  # the history; no pointer
    assert bool(told.reason) is (gate != "none")
    assert any("incomparable is promote" in note for note in result.notes) is (
        gate in ("champion", "both") and champion == "not comparable"
    )


@pytest.mark.parametrize(
    ("persistence", "smoothing", "linear"), [*product((True, False), (True, False, None), (True, False, None))]
)
def test_truth_table_of_the_baselines(models, judge, persistence, smoothing, linear):
    """``None``: the metrics lack it. Older trainers did not know exponential smoothing, so it is then not asked for."""
    challenger = models["fair"]
    beaten = {"persistence": persistence, "exponential_smoothing": smoothing, "linear": linear}
    known = {name: challenger.scores.composite * (2 if won else 0.5) for name, won in beaten.items() if won is not None}
    write_metrics(challenger.folder / "metrics.json", challenger.scores, **known)

    result = judge(challenger, "baseline")

    told = decision(result)
    assert told.held is not (persistence and linear is True and smoothing is not False)
    names = {
        "persistence": "persistence",
        "exponential_smoothing": "exponential smoothing",
        "linear": "the linear model",
    }
    for name, won in beaten.items():
        verdict = f"does not beat {names[name]}:" if won is False else f"{names[name]} has no score"
        asked_for = won is False or (won is None and name == "linear")
        assert (verdict in (told.reason or "")) is asked_for
    missing = "PROPHET, and did not score it"
    assert [note for note in result.notes if missing in note] == (
        [f"the gate does not ask for exponential smoothing: an older version trained {missing}"]
        if smoothing is None
        else []
    )


def test_a_baseline_that_the_metrics_lack_is_not_beaten(models, judge):
    write_metrics(models["fair"].folder / "metrics.json", models["fair"].scores, persistence=99.0)
    told = decision(judge(models["fair"], "baseline"))
    assert told.held
    assert told.reason == "PROPHET is held: the linear model has no score to compare with"


@pytest.mark.parametrize(("min_gain", "status"), [(0.0, "PROMOTED"), (0.05, "PROMOTED"), (0.95, "HELD")])
def test_the_margin_is_a_share_of_the_champions_score(models, store, judge, tmp_path, min_gain, status):
    promoted(models, tmp_path, store, "bad")
    assert decision(judge(models["fair"], min_gain=min_gain)).status == status


def test_a_tie_is_no_gain(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    told = decision(judge(models["later"]))
    assert told.held
    assert "does not beat the champion PROPHET (run run-of-good) on the same 120 rows" in told.reason


def other_columns(data, tmp_path, training_data):
    """The same data with its column under another name."""
    renamed = replace(data, targets=("z",), actual={"z": data.actual["y"]})
    frame = replace(data.frame, columns={"z": data.frame.columns["y"]})
    scaler = type(data.scaler).fit("MinMaxScaler", {"z": data.frame.columns["y"][: data.parts.fit_end]})
    path = tmp_path / "other.parquet"
    write_processed(path, replace(renamed, frame=frame, scaler=scaler))
    return path


def damage(folder):
    (folder / "bundle" / "config.json").write_text("{}")


def remove(folder):
    shutil.rmtree(folder / "bundle")


@pytest.mark.parametrize(
    ("champion", "sentence"),
    [
        ("old", "does not say until when it was trained"),
        ("damaged", "differs from its SHA-256"),
        ("gone", "is not a model bundle"),
    ],
)
def test_a_champion_that_cannot_be_compared_is_replaced_and_it_is_said(
    data, forecasters, models, store, judge, tmp_path, champion, sentence
):
    model = models.get(champion)
    if model is None:
        honest = until(data, data.parts.validation_end - 1)
        model = trained(tmp_path / champion, data, forecasters[0.0], minute=1, trained_until=honest)
    evaluate(tmp_path / "before", model, store, gate="none")
    if champion in ("damaged", "gone"):
        (damage if champion == "damaged" else remove)(model.folder)

    result = judge(models["fair"])

    assert decision(result).status == "PROMOTED"
    assert in_production(store) == "run-of-fair"
    (note,) = [note for note in result.notes if "incomparable is promote" in note]
    assert sentence in note
    assert note in decision(result).reason
    assert sentence in result.artifacts["report"].content


def refit_on_everything(data, forecasters, folder, scored_by, minute):
    """A model that has learned from every row; ``scored_by`` is the offset of what its training forecast."""
    whole = until(data, len(data) - 1)
    return trained(folder, data, forecasters[scored_by], minute=minute, trained_until=whole, refitted=forecasters[0.0])


@pytest.mark.parametrize(("challenger", "status"), [("good", "PROMOTED"), ("bad", "HELD")])
def test_a_refitted_champion_of_the_same_data_meets_its_challenger(
    data, forecasters, models, store, judge, tmp_path, challenger, status
):
    evaluate(tmp_path / "before", refit_on_everything(data, forecasters, tmp_path / "c", 1.0, 0), store, gate="none")
    result = judge(models[challenger])
    assert decision(result).status == status
    beats = "beats" if status == "PROMOTED" else "is held: it does not beat"
    assert decision(result).reason.startswith(
        f"PROPHET {beats} the champion PROPHET (run run-of-c) on the same 120 rows"
    )
    told = (
        "; the rows are from 2024-01-29 08:00:00 to 2024-02-03 07:00:00, and the champion forecast all of them in its "
        "training, before any refit"
    )
    assert decision(result).reason.endswith(told)
    assert told[2:] in result.artifacts["report"].content


@pytest.mark.parametrize("champion", ["old", "damaged", "gone"])
def test_a_winner_that_cannot_be_compared_is_held_where_that_is_asked_for(
    data, forecasters, models, store, judge, tmp_path, champion
):
    model = models["old"] if champion == "old" else refit_on_everything(data, forecasters, tmp_path / champion, 1.0, 0)
    evaluate(tmp_path / "before", model, store, gate="none")
    if champion != "old":
        (damage if champion == "damaged" else remove)(model.folder)

    result = judge(models["fair"], incomparable="hold")

    run_id = model.message.run_id
    assert decision(result).held
    assert in_production(store) == run_id
    title = f"the champion PROPHET (run {run_id})"
    reason = f"PROPHET is held: {title} cannot be compared with PROPHET, and incomparable is hold: "
    assert decision(result).reason.startswith(reason)
    assert decision(result).reason in result.notes
    unusable = [note for note in result.notes if f"{title} cannot forecast this data, so the held model does" in note]
    assert bool(unusable) is (champion != "old")
    assert selected(result).run_id == (run_id if champion == "old" else "run-of-fair")


@pytest.mark.parametrize("content", [None, b"{}"])
def test_with_nothing_in_production_there_is_nothing_to_be_held_for(models, store, judge, content):
    if content:
        store.put(BUCKET, PRODUCTION, content)
    assert decision(judge(models["fair"], incomparable="hold")).status == "PROMOTED"
    assert in_production(store) == "run-of-fair"


def test_every_reason_to_hold_is_named(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "old")
    write_metrics(models["fair"].folder / "metrics.json", models["fair"].scores, persistence=0.001, linear=99.0)
    reason = decision(judge(models["fair"], "both", incomparable="hold")).reason
    assert reason.startswith("PROPHET is held: it does not beat persistence: composite score ")
    assert ", and the champion PROPHET (run run-of-old) cannot be compared with PROPHET, and incomparable is" in reason


def test_a_champion_of_other_columns_cannot_be_compared(data, models, store, judge, tmp_path, training_data):
    promoted(models, tmp_path, store, "good")
    path = other_columns(data, tmp_path, training_data)
    result = judge(models["fair"], training_data=path)
    assert decision(result).status == "PROMOTED"
    assert any("the data lacks its columns y" in note for note in result.notes)


def test_without_training_data_there_is_no_comparison(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    result = judge(models["fair"], training_data=None)
    assert decision(result).status == "PROMOTED"
    assert any("training_data was not given" in note for note in result.notes)


def test_training_data_of_other_candidates_is_an_error(data, models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    write_processed(tmp_path / "foreign.parquet", replace(data, config_hash="f" * 64))
    with pytest.raises(BadInputError, match=f"has config_hash {'f' * 64}, but the candidates were trained on"):
        judge(models["fair"], training_data=tmp_path / "foreign.parquet")
    assert in_production(store) == "run-of-good"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "selection.json is missing"),
        ("{}", "does not hold forecasts"),
        ('{"time": ["2030-01-01"], "predicted": {"y": [1]}}', "other rows or targets"),
    ],
)
def test_a_challenger_without_its_forecasts_cannot_be_compared(
    data, forecasters, models, store, judge, tmp_path, content, sentence
):
    promoted(models, tmp_path, store, "good")
    challenger = trained(tmp_path / "new", data, forecasters[1.0], minute=5, trained_until=None)
    path = challenger.folder / "selection.json"
    path.unlink() if content is None else path.write_text(content)
    result = judge(challenger)
    assert decision(result).status == "PROMOTED"
    assert any(sentence in note for note in result.notes)


def test_forecasts_of_another_training_are_not_believed(data, forecasters, models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    challenger = trained(tmp_path / "new", data, forecasters[1.0], minute=5, trained_until=None)
    rows = scored(data)
    perfect = SelectionForecasts(data.frame.time[rows], {"y": data.actual["y"][rows]})
    (challenger.folder / "selection.json").write_text(perfect.to_json())
    assert any("gives the composite score 0," in note for note in judge(challenger).notes)


def test_what_is_in_production_already_is_not_held_by_itself(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    (tmp_path / "again").mkdir()
    for name in ("metrics.json", "selection.json"):
        shutil.copy(models["good"].folder / name, tmp_path / "again" / name)
    message = models["good"].message.model_copy(update={"train_end": "2025-01-31T13:00:00Z"})
    (tmp_path / "again" / "model.json").write_text(message.to_json())
    told = decision(judge(replace(models["good"], folder=tmp_path / "again", message=message)))
    assert (told.status, told.reason) == ("PROMOTED", "it is in production already")
    assert told.promotion_time.startswith("2025-01-31T13:00")


def test_a_held_challenger_is_kept_and_said(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    before = {key: store.get(BUCKET, key)[0] for key in keys(store)}

    result = judge(models["fair"])

    (history,) = set(keys(store)) - set(before)
    assert {key: store.get(BUCKET, key)[0] for key in before} == before
    kept = Promotion.parse(store.get(BUCKET, history)[0], source=history)
    assert kept == decision(result)
    assert (kept.status, kept.gate, kept.champion_run_id) == ("HELD", "champion", "run-of-good")
    assert selected(result).run_id == "run-of-good"
    assert result.message.startswith("held PROPHET (run run-of-fair)")
    assert "PROPHET (run run-of-good) stays in production" in result.message
    assert kept.reason in result.notes
    page = result.artifacts["report"].content
    assert "PROPHET is held." in page
    assert "run-of-good" in page
    assert result.artifacts["promotion_metadata"].metadata["status"] == "HELD"


def test_an_evaluation_repeated_is_the_same_decision(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    first = judge(models["fair"])
    content = {key: store.get(BUCKET, key)[0] for key in keys(store)}
    again = judge(models["fair"], gate="none", training_data=None)
    assert again.cached
    assert again.artifacts["promotion_metadata"] == first.artifacts["promotion_metadata"]
    assert again.artifacts["selected_model"] == first.artifacts["selected_model"]
    assert {key: store.get(BUCKET, key)[0] for key in keys(store)} == content


def test_without_a_store_there_is_no_champion(models, tmp_path, training_data):
    result = evaluate(tmp_path / "eval", models["fair"], None, training_data)
    assert decision(result).status == "PROMOTED"
    assert decision(result).reason == "nothing is in production yet"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"timestamp": "2020-01-01T00:00:00Z"}'])
def test_a_damaged_pointer_is_no_champion_and_it_is_said(models, store, judge, content):
    store.put(BUCKET, PRODUCTION, content)
    result = judge(models["fair"])
    assert in_production(store) == "run-of-fair"
    assert any("is damaged" in note for note in result.notes)


def test_a_promotion_of_an_older_version_is_a_champion(models, store, judge, tmp_path):
    promoted(models, tmp_path, store, "good")
    message = json.loads(store.get(BUCKET, PRODUCTION)[0])
    for name in ("operation", "status", "bundle_sha256"):
        del message[name]
    store.put(BUCKET, PRODUCTION, json.dumps(message).encode())
    assert decision(judge(models["fair"])).held


def test_inference_takes_the_champion_of_earlier_data_in_place_of_a_held_winner(data, models, store, judge, tmp_path):
    earlier = replace(data, config_hash="e" * 64)
    honest = until(data, data.parts.validation_end - 1)
    champion = trained(tmp_path / "champion", earlier, off_by(earlier, 0.0), minute=0, trained_until=honest)
    evaluate(tmp_path / "before", champion, store, gate="none")

    result = judge(models["fair"])

    assert decision(result).held
    assert (selected(result).config_hash, selected(result).data_config_hash) == ("e" * 64, data.config_hash)
    (tmp_path / "selected_model.json").write_text(result.artifacts["selected_model"].content)
    write_processed(tmp_path / "test.parquet", data)
    inputs = {
        "inference_data": InputArtifact(tmp_path / "test.parquet"),
        "selected_model": InputArtifact(tmp_path / "selected_model.json"),
    }
    params = InferenceParams(config_hash=data.config_hash, identifier="station")
    done = forecast(params, Context(inputs, tmp_path, output_dir=tmp_path / "out"))
    assert json.loads(done.artifacts["predictions"].content)["run_id"] == "run-of-champion"
    params = InferenceParams(config_hash="a" * 64, identifier="station")
    with pytest.raises(BadInputError, match="is expected"):
        forecast(params, Context(inputs, tmp_path, output_dir=tmp_path / "out"))


class MeetingStore(FileStore):
    """Lets nobody go on before all have seen what is in production at first, and keeps what was there, in order."""

    def __init__(self, root, evaluations):
        super().__init__(root)
        self.production = []
        self._barrier, self._seen, self._order = threading.Barrier(evaluations), threading.local(), threading.Lock()

    def get(self, bucket, key):
        found = super().get(bucket, key)
        if key == PRODUCTION and not getattr(self._seen, "it", False):
            self._seen.it = True
            self._barrier.wait(60)
        return found

    def put(self, bucket, key, data, **condition):
        if key != PRODUCTION:
            return super().put(bucket, key, data, **condition)
        with self._order:
            info = super().put(bucket, key, data, **condition)
            self.production.append(json.loads(data)["run_id"])
            return info


@pytest.mark.slow
def test_fifty_evaluations_at_once_end_at_one_right_winner(data, models, tmp_path, training_data):
    """The best is number 39; those that were trained after it do not even beat what is in production before all."""
    honest = until(data, data.parts.validation_end - 1)
    quality = [0.02 * ((17 * number + 11) % 40) for number in range(40)] + [3 + 0.1 * number for number in range(10)]
    best = quality.index(0.0)
    quality[best], quality[39] = quality[39], quality[best]
    challengers = [
        trained(tmp_path / f"m{number}", data, off_by(data, offset), minute=60 + number, trained_until=honest)
        for number, offset in enumerate(quality)
    ]
    promoted(models, tmp_path, FileStore(tmp_path / "store"), "bad")
    store, results = MeetingStore(tmp_path / "store", 50), {}

    def judge(number):
        results[number] = evaluate(tmp_path / f"eval-{number}", challengers[number], store, training_data)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 50
    for key in ("current.json", PRODUCTION, f"station/{data.config_hash}/current.json"):
        assert Promotion.parse(FileStore.get(store, BUCKET, key)[0], source=key).run_id == "run-of-m39"
    assert all(decision(results[number]).held for number in range(40, 50))
    came = [int(run_id.removeprefix("run-of-m")) for run_id in store.production]
    assert came == sorted(came)
    assert [quality[number] for number in came] == sorted((quality[number] for number in came), reverse=True)
    assert sum(info.key.endswith("current.json") is False for info in store.list(BUCKET)) == 51
