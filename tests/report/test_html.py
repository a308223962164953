"""The report page: says what metrics.json says, needs nothing beside it, and escapes what users named."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from din_train.config.data import Protocol
from din_train.config.training import SelectOn
from din_train.report.html import PROTOCOLS, SELECTION, RunReport, build_html

METRICS = {
    "model": "din",
    "protocol": "holdout",
    "split": "test",
    "selected_on": "validation",
    "auc": 0.8125,
    "gauc": 0.75,
    "logloss": 0.5,
    "num_samples": 6,
    "num_positives": 2,
    "gauc_users": 2,
    "gauc_users_skipped": 1,
    "negatives": {"per_positive": 1, "evaluation_per_positive": 2},
    "seed": 7,
    "best_epoch": 2,
    "refit": False,
}
HISTORY = [
    {"epoch": 1, "loss": 0.7, "validation_auc": 0.6, "validation_gauc": 0.61},
    {"epoch": 2, "loss": 0.6, "validation_auc": 0.7, "validation_gauc": 0.71},
]
MANIFEST = {"counts": {"events": 12_345, "users": 3}, "samples": {"train": 4, "test": 6}}


def build(**changes: object) -> str:
    parts = {
        "name": "first",
        "metrics": METRICS,
        "history": HISTORY,
        "labels": np.array([1, 0, 0, 1, 0, 0], np.int8),
        "logits": np.array([2.0, 1.0, -1.0, 0.5, 0.7, -2.0], np.float32),
        "manifest": MANIFEST,
        "config": "name: first\n",
    }
    return build_html(RunReport(**{**parts, **changes}))  # type: ignore[arg-type]


def test_it_says_what_the_metrics_say() -> None:
    page = build()
    for said in ("0.812500", "0.750000", "0.500000", "Protocol <b>holdout</b>", "epoch 2, seed 7", "12,345"):
        assert said in page
    assert "6 samples, of which 2 are targets; 2 sampled negative(s) a target" in page
    assert "GAUC is over 2 users; 1 with one class only are left out" in page
    assert page == build()


def test_it_needs_nothing_beside_it() -> None:
    page = build()
    assert not re.search(r"<(script|link|img|iframe)\b|src=|@import|url\((?!#)", page)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    titles = ["".join(ElementTree.fromstring(plot).itertext()) for plot in plots]  # noqa: S314 - our own
    assert len(plots) == 3
    for title, text in zip(("Epochs", "ROC", "Calibration"), titles, strict=True):
        assert title in text


def test_names_and_config_are_escaped() -> None:
    page = build(name="<b>&", config="title: <script>alert(1)</script>\n")
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_undefined_metrics_are_said_and_plotted_as_nothing() -> None:
    metrics = {**METRICS, "auc": None, "gauc": None}
    page = build(metrics=metrics, labels=np.ones(6, np.int8))
    assert page.count("undefined") == 2
    assert "nan" not in page.lower()


def test_a_run_without_a_watched_split_plots_the_loss() -> None:
    page = build(history=[{"epoch": 1, "loss": 0.7}], metrics={**METRICS, "protocol": "paper", "selected_on": "none"})
    assert "training loss" in page
    assert "validation" not in page


@pytest.mark.parametrize(
    ("words", "choices"), [(PROTOCOLS, Protocol), (SELECTION, SelectOn)], ids=["protocol", "select_on"]
)
def test_every_choice_has_its_sentence(words: dict[str, str], choices: object) -> None:
    assert set(words) == set(choices.__args__)  # type: ignore[attr-defined]


def test_a_refit_is_said() -> None:
    assert "a second training, on training and validation rows" in build(metrics={**METRICS, "refit": True})
    assert "second training" not in build()
