"""The main job on real logs, through the shipped config: counts, the paper's split, and what the models must reach."""

from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from log_factory import make_config, read_events, read_positives, read_raw_ids, read_samples

from din_train.cli import cli
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.tensorflow_setup import start_tensorflow

pytestmark = pytest.mark.real_logs

REPOSITORY = Path(__file__).parents[1]
SPORTS_CONFIG = REPOSITORY / "configs" / "amazon_sports.yaml"

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
    counts = sports_data.manifest.counts
    assert {key: counts[key] for key in ("events", "users", "items", "items_with_category", "categories")} == {
        "events": 296_337,
        "users": 35_598,
        "items": 18_357,
        "items_with_category": 18_357,
        "categories": 959,
    }
    assert sports_data.manifest.samples == {"train": 450_282, "validation": 0, "test": 71_196}
    last = sports_data.samples(Split.TEST, 1_000).history_length
    assert (last.min() + 1, round(last.mean() + 1, 1), last.max() + 1) == (5, 8.3, 296)
    assert set(sports_data.manifest.dropped.values()) == {0}
    assert sports_data.manifest.unknown_rate_in_test == 0


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
    events = read_events(sports_data)
    own = set(zip(events["user_id"], events["item_id"], strict=True))
    assert own.isdisjoint(zip(users.tolist(), negatives.tolist(), strict=True))
    expected = len(negatives) / items
    chi_square = np.sum((np.bincount(negatives, minlength=items + 2)[2:] - expected) ** 2 / expected)
    assert abs(chi_square - (items - 1)) < 6 * np.sqrt(2 * items)  # 6 standard deviations


@pytest.mark.slow
def test_sports_din_reaches_the_goal_and_base_model_stays_below(
    sports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--set", "training.epochs=2", "--set", "training.optimizer.schedule.epochs=[1]"]
    run("fit", *sports, *short)
    run("fit", *sports, *short, "--set", "model.name=base", "--set", "name=base")
    din, base = (orjson.loads(Path(f"runs/{name}/metrics.json").read_bytes()) for name in ("sports", "base"))
    assert (din["protocol"], din["split"], din["selected_on"]) == ("paper", "test", "none")
    assert din["best_epoch"] == 2
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
    counts = open_store(Path("cards")).manifest.counts
    assert {key: counts[key] for key in ("events", "users", "items", "items_with_category")} == {
        "events": 2_972,
        "users": 458,
        "items": 148,
        "items_with_category": 148,
    }
    assert any("junk category" in line and " 5 " in line for line in shown.splitlines())


@pytest.fixture(scope="module")
def x1(real_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that run the shipped x1 config on Sports in that layout, prepared once."""
    folder = tmp_path_factory.mktemp("x1")
    values = {"data.prepared": folder / "prepared", "name": "x1"}
    values |= {f"data.{split}": real_logs / "sports_x1" / f"{split}.csv.gz" for split in ("train", "test")}
    config = REPOSITORY / "configs" / "amazon_electronics_x1.yaml"
    options = ["--config", str(config), *(f"--set={key}={value}" for key, value in values.items())]
    run("prepare", *options)
    return options


def test_every_ready_made_row_is_kept_as_it_is(real_logs: Path, x1: list[str]) -> None:
    prepared = next(Path(each.partition("data.prepared=")[2]) for each in x1 if "data.prepared=" in each)
    data = open_store(prepared)
    assert data.manifest.samples == {"train": 450_282 - 2 * 35_598, "validation": 2 * 35_598, "test": 71_196}
    assert data.manifest.counts["events"] == 260_739  # the history of every user's last item, stored once
    found = {}
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST):
        rows = read_samples(data, split, 1_000)
        found[split] = [(row["label"], row["user"], row["target"], "^".join(row["history"])) for row in rows]
    read = {}
    for split in ("train", "test"):
        columns = ["label", "user_id", "item_id", "item_history"]
        rows = pd.read_csv(real_logs / "sports_x1" / f"{split}.csv.gz", usecols=columns, dtype={"item_id": str})
        rows["user_id"] = rows["user_id"].astype(str)
        read[split] = list(rows[columns].itertuples(index=False, name=None))
    assert found[Split.TEST] == read["test"]  # in the file's order
    assert Counter(found[Split.TRAIN] + found[Split.VALIDATION]) == Counter(read["train"])
    longest: dict[str, int] = {}
    for label, user, _, history in read["train"]:
        if label:
            longest[user] = max(longest.get(user, 0), history.count("^"))
    held = found[Split.VALIDATION]
    assert all(history.count("^") == longest[user] for _, user, _, history in held)
    assert Counter(label for label, *_ in held) == {1: 35_598, 0: 35_598}


def test_eval_counts_the_test_files_rows(x1: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["training.epochs=1", "model.item_embedding_size=8", "model.category_embedding_size=8"]
    small += ["model.local_activation_unit.hidden_units=[8]", "model.mlp.hidden_units=[16]"]
    run("fit", *x1, *(f"--set={each}" for each in small))
    metrics = orjson.loads(run("eval", "--json").stdout)
    assert (metrics["protocol"], metrics["num_samples"], metrics["num_positives"]) == ("presampled", 71_196, 35_598)
    assert metrics["gauc_users"] == 35_598
    assert metrics["negatives"] == "in the log"
    assert metrics["gauc"] > 0.6


@pytest.fixture(scope="module")
def sports_rows(real_logs: Path) -> pd.DataFrame:
    return pd.read_csv(real_logs / "amazon_sports_5core_2014.tsv.gz", sep="\t", dtype=str)


def encode_reviews(rows: pd.DataFrame, keys: tuple[str, str, str], ticks: int) -> bytes:
    user, item, time = keys
    columns = zip(rows["user"], rows["item"], rows["timestamp"].astype(int) * ticks, strict=True)
    return b"".join(orjson.dumps({user: u, item: i, time: t, "reviewText": "..."}) + b"\n" for u, i, t in columns)


def encode(rows: pd.DataFrame, source: str, folder: Path) -> dict[str, str]:
    """Write Sports in a source's layout; returns the config keys of the files."""
    items = rows.drop_duplicates("item")
    pairs = list(zip(items["item"], items["cate"], strict=True))
    if source == "taobao":
        rows.assign(kind="pv")[["user", "item", "cate", "kind", "timestamp"]].to_csv(
            folder / "UserBehavior.csv", header=False, index=False
        )
        return {"events": str(folder / "UserBehavior.csv")}
    old = ("reviewerID", "asin", "unixReviewTime")
    keys, ticks = (("user_id", "parent_asin", "timestamp"), 1000) if source == "amazon-2023" else (old, 1)
    (folder / "reviews.json").write_bytes(encode_reviews(rows, keys, ticks))
    if source == "amazon-2014":
        metadata = "".join(f"{ {'asin': item, 'categories': [['Sports', cate]]}!r}\n" for item, cate in pairs).encode()
    else:
        path = "category" if source == "amazon-2018" else "categories"
        metadata = b"".join(orjson.dumps({keys[1]: item, path: ["Sports", cate]}) + b"\n" for item, cate in pairs)
    (folder / "meta.json").write_bytes(metadata)
    return {"reviews": str(folder / "reviews.json"), "items": str(folder / "meta.json")}


@pytest.mark.parametrize("source", ["amazon-2014", "amazon-2018", "amazon-2023", "taobao"])
def test_all_readers_prepare_the_same_store(
    source: str, sports_rows: pd.DataFrame, sports_data: PreparedData, tmp_path: Path
) -> None:
    values = {"source": source, **encode(sports_rows, source, tmp_path), "prepared": str(tmp_path / "prepared")}
    config = make_config(tmp_path, data={"events": None, "columns": None, "protocol": "paper", **values})
    manifest = prepare_data(config, force=False, progress=lambda _: None).manifest
    for name, sha256 in sports_data.manifest.files.items():
        assert manifest.files[name] == sha256, name
    assert manifest.fingerprint == sports_data.manifest.fingerprint
