"""A run's page says what its files say, needs nothing beside it, and escapes what others named."""

import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from page_reader import PageReader
from record_factory import MANIFEST, METRICS, describe_slice
from report_factory import (
    ENVIRONMENT,
    HISTORY,
    ROWS,
    build_page,
    build_report,
    read_page,
)

from din_train.config.data import Protocol
from din_train.config.schema import GaucWeighting
from din_train.config.training import SelectOn
from din_train.evaluation.display import MEANINGS, PROTOCOLS, SELECTION, TITLES, WEIGHTINGS
from din_train.report.report import build_run_page, build_run_pictures

with_figures = pytest.mark.figures  # all that look at figures, or at the page that these share

HOSTILE = "</svg><script>alert('1')</script>\"$x^{2$&\x1f\n"


@with_figures
def test_the_headline_has_every_metric_with_its_interval() -> None:
    page = read_page()
    shown = dict(re.findall(r'data-metric="(\w+)">([^<]+)<', page))
    assert shown == {
        "gauc": "0.750000",
        "auc": "0.812500",
        "logloss": "0.500000",
        "normalised_entropy": "0.785000",
        "pcoc": "1.250000",
        "ece": "0.062500",
    }
    assert re.findall(r'class="interval">([^<]+)<', page) == ["0.6543 to 0.8321", "0.7100 to 0.9000"]
    assert "Intervals hold 90 % of 500 bootstrap resamples of the users" in page


@with_figures
def test_the_numbers_come_with_what_they_stand_on() -> None:
    text = PageReader(read_page()).text
    assert "6 rows of 3 users, of which 2 are targets; 2 sampled negative(s) per target" in text
    assert "GAUC is over 2 users, weighted by the user's number of rows, as in the DIN paper; 1 with one class" in text
    assert PROTOCOLS["holdout"] in text
    assert f"{SELECTION['validation']} Weights are of epoch 2, seed 7." in text
    assert "Trained with 1 sampled negative(s) per target" in text
    assert all(meaning in text for meaning in MEANINGS.values())
    assert "second training" not in text


def test_a_refit_and_another_weighting_are_said() -> None:
    assert "a second training, on training and validation rows together" in build_page(
        metrics=replace(METRICS, refit=True)
    )
    uniform = PageReader(build_page(metrics=replace(METRICS, gauc_weighting="uniform"))).text
    assert "GAUC is over 2 users, every user counts the same" in uniform


@with_figures
def test_slices_data_epochs_environment_and_commands_are_in_numbers_too() -> None:
    page = read_page()
    cells = PageReader(page).read("td", "th")
    for said in ("1-4", "5-9", "new", "known", "1,234", "0.637500", "0.550000", "undefined"):
        assert said in cells, said
    for name, count in {
        "lines": "777",
        "rejected: no timestamp": "23",
        "left out: rating below 4": "4",
        "users with too few events": "91",
        "events": "12,345",
        "rows: test": "6",
    }.items():
        assert cells[cells.index(name) + 1] == count
    assert cells[cells.index("2") + 1 :][:5] == ["0.6", "0.7", "0.71", "0.005", "2.25"]
    for key in ENVIRONMENT.keys() - {"command"}:
        assert str(ENVIRONMENT[key]) in cells
    code = PageReader(page).read("code")
    assert code == [ENVIRONMENT["command"], build_report().again, "name: first"]


@with_figures
def test_every_figure_is_there_with_a_caption_and_a_label() -> None:
    names = [
        "loss", "watched", "learning-rate", "slices-history-length", "slices-target-item", "reliability",
        "score-histograms", "roc", "history-length", "attention-1", "attention-2",
    ]  # fmt: skip
    report = {"attention": [describe_user("u1"), describe_user("u2")]}
    pictures = build_run_pictures(build_report(**report))
    reader = PageReader(build_run_page(build_report(**report), pictures))
    assert [each["id"] for each in reader.find("figure")] == [f"figure-{name}" for name in names]
    assert list(pictures.figures) == names
    svgs = list(reader.find("svg"))
    assert len(svgs) == len(reader.read("figcaption")) == len(names)
    assert all(each["role"] == "img" and each["aria-label"] for each in svgs)
    assert svgs[3]["aria-label"] == "GAUC by history length: 1-4: 0.637500; 5-9: undefined"
    assert "User u2" in reader.read("figcaption")[-1]


@cache
def read_page_with_attention() -> str:
    """Made once, for those that change nothing."""
    return build_page(attention=[describe_user("u1")])


def describe_user(name: str) -> dict[str, Any]:
    item = {"item": "i", "title": name, "category": name}
    return {
        "user": name,
        "clicked": {**item, "click_probability": 0.5},
        "sampled": {**item, "click_probability": 0.25},
        "behaviours": [{**item, "timestamp": None, "weight_clicked": 0.5, "weight_sampled": 0.25}],
    }


@with_figures
def test_it_is_well_formed_and_its_ids_are_its_own() -> None:
    reader = PageReader(read_page_with_attention())
    assert reader.mistakes == []
    assert len(reader.ids) == len(set(reader.ids))
    anchors = [each["href"] for each in reader.find("a")]
    assert anchors
    assert {str(each).removeprefix("#") for each in anchors} <= set(reader.ids)
    used = re.findall(r'(?:url\(|href=")#([^")]+)', read_page())
    assert set(used) <= set(reader.ids)
    assert len(reader.read("h1")) == 1
    assert len(reader.read("h2")) == len(anchors)
    assert all("scope" in each for each in reader.find("th"))


@with_figures
def test_it_needs_nothing_beside_it_and_fits_a_phone() -> None:
    page = read_page()
    reader = PageReader(page)
    assert not re.search(r"https?:|//\w|@import|@font-face", page)
    assert not {"script", "link", "img", "iframe", "image", "object"} & {tag for tag, _ in reader.elements}
    assert not [name for _, each in reader.elements for name in each if name == "src" or name.startswith("on")]
    metas = {each.get("name") or each.get("http-equiv"): each.get("content") for each in reader.find("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert str(metas["Content-Security-Policy"]).startswith("default-src 'none';")
    assert "prefers-color-scheme: dark" in page


@with_figures
def test_the_same_files_give_the_same_bytes() -> None:
    assert build_page(attention=[describe_user("u1")]) == read_page_with_attention()


@with_figures
def test_what_others_named_is_escaped_everywhere() -> None:
    slices = {"history_length": [describe_slice(HOSTILE)], HOSTILE: [describe_slice(HOSTILE)]}
    page = build_page(
        name=HOSTILE,
        metrics=replace(METRICS, slices=slices),
        config=HOSTILE,
        again=HOSTILE,
        manifest=replace(MANIFEST, counts={HOSTILE: 1}, dropped={HOSTILE: 2}),
        environment={**ENVIRONMENT, "command": HOSTILE, "platform": HOSTILE},
        attention=[describe_user(HOSTILE)],
    )
    reader = PageReader(page)
    assert "script" not in {tag for tag, _ in reader.elements}
    assert reader.mistakes == []
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 8
    assert "figure-slices-2" in reader.ids  # not by its own name, which would be a file's


def test_undefined_metrics_are_said_and_drawn_as_nothing() -> None:
    intervals = {**(METRICS.intervals or {}), "auc": None, "gauc": None}
    metrics = replace(METRICS, auc=None, gauc=None, normalised_entropy=None, slices={}, intervals=intervals)
    one_class = replace(ROWS, label=np.ones(6, np.int8))
    page = build_page(metrics=metrics, rows=one_class)
    reader = PageReader(page)
    assert re.findall(r'data-metric="(\w+)">undefined<', page) == ["gauc", "auc", "normalised_entropy"]
    assert "figure-roc" not in reader.ids
    assert "figure-reliability" in reader.ids
    assert "The rows have one class only, so there is no ROC curve." in reader.text
    assert "nan" not in re.sub(r"<[^>]+>", "", page).lower()


def test_a_slice_dimension_without_a_defined_metric_says_so() -> None:
    metrics = replace(METRICS, slices={"hour": [describe_slice("12", gauc=None, auc=None)]})
    reader = PageReader(build_page(metrics=metrics))
    assert "By hour neither GAUC nor AUC is defined" in reader.text
    assert "figure-slices-hour" not in reader.ids


def test_a_run_without_its_other_files_has_its_page() -> None:
    lacking = {key: f"No {key} there." for key in ("scores", "data", "environment", "attention")}
    metrics = replace(METRICS, slices={}, intervals=None)
    page = build_page(metrics=metrics, history=[], rows=None, manifest=None, environment=None, lacking=lacking)
    reader = PageReader(page)
    assert list(reader.find("figure")) == []
    assert all(sentence in reader.text for sentence in lacking.values())
    for said in ("No intervals: metrics.resamples was 0", "history.jsonl has no epoch", "6 rows of 3 users, of which"):
        assert said in reader.text


def test_a_run_without_a_watched_split_has_its_loss_alone() -> None:
    history = [{"epoch": 1, "loss": 0.7, "learning_rate": 0.01}]
    reader = PageReader(build_page(history=history, metrics=replace(METRICS, protocol="paper", selected_on="none")))
    assert {"figure-loss", "figure-learning-rate"} <= set(reader.ids)
    assert "figure-watched" not in reader.ids


@with_figures
def test_a_refit_is_a_curve_of_its_own() -> None:
    refit = [{"phase": "refit", "epoch": 1, "loss": 0.65, "learning_rate": 0.01, "seconds": 3.0}]
    reader = PageReader(build_page(history=[*HISTORY, *refit]))
    assert "1 (refit)" in reader.read("th")
    assert "training, refit" in reader.read("text")


@pytest.mark.parametrize(
    ("words", "choices"),
    [(PROTOCOLS, Protocol), (SELECTION, SelectOn), (WEIGHTINGS, GaucWeighting)],
    ids=["protocol", "select_on", "gauc_weighting"],
)
def test_every_choice_has_its_sentence(words: dict[str, str], choices: object) -> None:
    assert set(words) == set(choices.__args__)  # type: ignore[attr-defined]
    assert set(TITLES) == set(MEANINGS)
