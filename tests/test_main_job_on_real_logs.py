"""The main job on real logs, through the shipped config: counts, the paper's split, and what the models must reach."""

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from log_factory import read_positives, read_raw_ids

from din_train.cli import cli
from din_train.samples.split import Split
from din_train.samples.store import PreparedData, open_store
from din_train.tensorflow_setup import start_tensorflow

pytestmark = pytest.mark.real_logs

SPORTS_CONFIG = Path(__file__).parents[1] / "configs" / "amazon_sports.yaml"

start_tensorflow("cpu")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sports") / "prepared"


@pytest.fixture(scope="module")
def sports(real_logs: Path, prepared: Path) -> list[str]:
    """Options that run the shipped config on the Sports log, prepared once."""
    events = real_logs / "amazon_sports_5core_2014.tsv.gz"
    options = ["--config", str(SPORTS_CONFIG), "--set", f"data.prepared={prepared}", "--set", f"data.events={events}"]
    run("prepare", *options)
    return options


@pytest.fixture(scope="module")
def sports_data(sports: list[str], prepared: Path) -> PreparedData:
    del sports  # prepares it
    return open_store(prepared)


def test_sports_counts(sports_data: PreparedData) -> None:
    counts = sports_data.manifest["counts"]
    assert {key: counts[key] for key in ("events", "users", "items", "items_with_category", "categories")} == {
        "events": 296_337,
        "users": 35_598,
        "items": 18_357,
        "items_with_category": 18_357,
        "categories": 959,
    }
    assert sports_data.manifest["samples"] == {"train": 450_282, "validation": 0, "test": 71_196}
    last = sports_data.samples(Split.TEST, 1_000).history_length
    assert (last.min() + 1, round(last.mean() + 1, 1), last.max() + 1) == (5, 8.3, 296)
    assert set(sports_data.manifest["dropped"].values()) == {0}


@pytest.mark.parametrize("split", [Split.TRAIN, Split.TEST])
def test_sports_targets_and_histories_are_the_leaderboards(
    real_logs: Path, sports_data: PreparedData, split: Split
) -> None:
    """The same log as ready-made samples: every positive has the same user, item and history, order included."""
    path = real_logs / "sports_x1" / f"{split.name.lower()}.csv.gz"
    rows = pd.read_csv(path, usecols=["label", "user_id", "item_id", "item_history"])
    rows = rows[rows["label"] == 1]
    theirs = Counter(zip(rows["user_id"], rows["item_id"], rows["item_history"], strict=True))
    ours = Counter(  # ids count from 0 there, from 1 in the log
        (
            int(each["user"]) - 1,
            int(each["target"]) - 1,
            "^".join(str(int(item) - 1) for item in each["history"]),
        )
        for each in read_positives(sports_data, split, 1_000)
    )
    assert len(ours) == {Split.TRAIN: 225_141, Split.TEST: 35_598}[split]
    assert ours == theirs


def test_sports_negatives_are_uniform_and_never_the_users_own(sports_data: PreparedData) -> None:
    samples = sports_data.samples(Split.TRAIN, 1)
    negatives = samples.target_item_ids[samples.labels == 0]
    users = samples.user_ids[samples.labels == 0]
    items = len(read_raw_ids(sports_data, "items", "item_id", "item"))
    events = pq.read_table(sports_data.folder / "events.parquet")
    own = set(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True))
    assert own.isdisjoint(zip(users.tolist(), negatives.tolist(), strict=True))
    expected = len(negatives) / items
    chi_square = np.sum((np.bincount(negatives, minlength=items + 2)[2:] - expected) ** 2 / expected)
    assert abs(chi_square - (items - 1)) < 6 * np.sqrt(2 * items)  # 6 standard deviations


def test_sports_din_reaches_the_goal_and_base_model_stays_below(
    sports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("fit", *sports)
    run("fit", *sports, "--set", "model.name=base", "--set", "name=base")
    din, base = (orjson.loads(Path(f"runs/{name}/metrics.json").read_bytes()) for name in ("sports", "base"))
    assert (din["protocol"], din["split"], din["selected_on"]) == ("paper", "test", "none")
    assert din["best_epoch"] <= 3
    assert din["gauc_users"] == 35_598
    assert din["gauc"] >= 0.82
    assert base["gauc"] < din["gauc"]


def test_gift_cards_from_the_raw_pair(real_logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = real_logs / "gift_cards"
    config = "name: cards\nmodel: {name: din}\ntraining: {epochs: 1}\ndata: {source: amazon-2018, prepared: cards, "
    config += f"reviews: {folder / 'Gift_Cards_5.json.gz'}, items: {folder / 'meta_Gift_Cards.json.gz'}}}\n"
    Path("cards.yaml").write_text(config)
    shown = run("prepare", "--config", "cards.yaml").stdout
    counts = open_store(Path("cards")).manifest["counts"]
    assert {key: counts[key] for key in ("events", "users", "items", "items_with_category")} == {
        "events": 2_972,
        "users": 458,
        "items": 148,
        "items_with_category": 148,
    }
    assert any("junk category" in line and " 5 " in line for line in shown.splitlines())
