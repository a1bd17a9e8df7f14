"""Bundles of boosters with right checksums and other content: each ends in one sentence that names the file."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.models import bundle
from flts.models.boosting.training import fit_lightgbm
from flts.models.boosting.trees import Trees
from flts.params import LightGBMParams
from tests.support.bundles import edit
from tests.support.processed import processed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "bundle"
    generator = np.random.default_rng(0)
    y = np.exp(generator.normal(size=200))
    data = processed({"y": y, "x": np.roll(y, -1)})
    params = LightGBMParams(
        config_hash="",
        config_json="",
        identifier="x",
        target_transform="log1p",
        min_data_in_leaf=5,
        num_boost_round=3,
        num_leaves=4,
    )
    bundle.save(folder, fit_lightgbm(data, params).forecaster, data)
    return folder


@pytest.fixture
def boosters(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def sentence(folder: Path) -> str:
    begin = time.process_time()
    with pytest.raises(BadInputError) as caught:
        bundle.load(folder)
    assert time.process_time() - begin < 5
    said = str(caught.value)
    assert "lightgbm.json" in said
    assert "\n" not in said
    assert "Error" not in said
    assert len(said) < 500
    return said


def replaced(pattern: str, value: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, value, text, count=1, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "is not the whole text of a booster"),
        (lambda text: text[: len(text) // 2], "is not the whole text"),
        (lambda text: text[: text.index("end of trees") - 1], "is not the whole text"),
        (replaced("version=v4", "version=v9"), "is not the whole text"),
        (replaced("max_feature_idx=.*", "max_feature_idx=3"), "features and one output"),
        (replaced("num_tree_per_iteration=1", "num_tree_per_iteration=2"), "features and one output"),
        (replaced("Tree=1", "Tree=7"), "lacks tree 1"),
        (replaced("num_leaves=.*", "num_leaves=1000000000"), "tree of another kind"),
        (replaced("num_leaves=.*", "num_leaves=-1"), "tree of another kind"),
        (replaced("num_leaves=.*", "num_leaves=3"), "must give 3 finite numbers"),
        (replaced("num_cat=0", "num_cat=1"), "tree of another kind"),
        (replaced("is_linear=0", "is_linear=1"), "tree of another kind"),
        (replaced("^split_feature=.*\n", ""), "has a block without split_feature"),
        (replaced("^split_feature=\\d+", "split_feature=99999"), "whole numbers from 0 to"),
        (replaced("^split_feature=\\d+", "split_feature=-1"), "whole numbers from 0 to"),
        (replaced("^split_feature=\\d+", "split_feature=0.5"), "whole numbers from 0 to"),
        (replaced("^threshold=[^ \n]+", "threshold=nan"), "finite numbers"),
        (replaced("^threshold=[^ \n]+", "threshold=x"), "finite numbers"),
        (replaced("^leaf_value=[^ \n]+", "leaf_value=inf"), "finite numbers"),
        (replaced("^leaf_value=[^ \n]+", "leaf_value=1e999"), "finite numbers"),
        (replaced("^decision_type=\\d+", "decision_type=1"), "split of another kind"),
        (replaced("^decision_type=\\d+", "decision_type=4"), "split of another kind"),
        (replaced("^left_child=-?\\d+", "left_child=0"), "nodes are not joined"),
        (replaced("^left_child=-?\\d+", "left_child=-1000"), "whole numbers from"),
        (replaced("^left_child=-?\\d+", "left_child=77"), "whole numbers from"),
    ],
)
def test_a_damaged_text_is_named(boosters: Path, change: Callable[[str], str], said: str):
    def damage(document) -> None:
        booster = document["targets"]["y"][0]
        changed = change(booster["text"])
        assert changed != booster["text"]
        booster["text"] = changed

    edit(boosters, "lightgbm.json", damage)
    assert said in sentence(boosters)


def test_a_tree_that_runs_in_a_circle_is_refused():
    text = (
        "tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=0\n\nTree=0\nnum_leaves=4\nnum_cat=0\n"
        "split_feature=0 0 0\nthreshold=1 2 3\ndecision_type=2 2 2\nleft_child=-1 2 1\nright_child=-2 -3 -4\n"
        "leaf_value=1 2 3 4\n\nend of trees\n"
    )
    with pytest.raises(ValueError, match="runs in a circle"):
        Trees.parse(text, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.update(median=[1.0]), "one median and one spread"),
        (lambda document: document.update(spread=[0.0, 1.0]), "spread.0' must be greater than"),
        (lambda document: document.update(columns=["y", "w"]), "forecasts from column 'w'"),
        (lambda document: document.update(calendar=["hour"]), "'hour', which is not a time feature"),
        (lambda document: document.update(non_negative=["z"]), "'z', which is not a target"),
        (lambda document: document["targets"].update(z=document["targets"]["y"]), "must hold boosters of y each"),
        (lambda document: document["targets"]["y"].clear(), "at least 1"),
        (lambda document: document["targets"]["y"][0].update(view="cubic"), "view"),
        (lambda document: document["targets"]["y"][0].update(unit=-1), "unit' must be greater than"),
        (lambda document: document["targets"]["y"][0].update(offset=1e9), "offset' must be at most"),
        (lambda document: document["targets"]["y"][0].update(text=7), "text' must be text"),
    ],
)
def test_other_statistics_are_named(boosters: Path, change: Callable[[dict], None], said: str):
    edit(boosters, "lightgbm.json", change)
    assert said in sentence(boosters)


def test_every_cut_of_a_text_is_refused_or_read_as_it_was(made: Path):
    import json

    document = json.loads((made / "lightgbm.json").read_text())
    text = document["targets"]["y"][0]["text"]
    features = int(re.search("max_feature_idx=(\\d+)", text)[1]) + 1
    whole = Trees.parse(text, features)
    for cut in range(0, len(text), 7):
        try:
            found = Trees.parse(text[:cut], features)
        except ValueError:
            continue
        assert np.array_equal(found.value, whole.value)
