"""What may differ between an artefact and `predict`: 1e-5, and more only if float32 rounds the scores to more."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from served_runs import ServedRuns

from din_train.dataset.names import read_names
from din_train.evaluation.calibration import Calibration
from din_train.export.expected_scores import TOLERANCE, ScoredRequest, find_tolerance, score_requests
from din_train.export.golden import Request, build_golden, build_unpublished
from din_train.export.request import list_inputs, read_vocabularies
from din_train.logs.history_text import HistoryFormat
from din_train.logs.sequences import SequenceReader
from din_train.scoring import OpenedRun


def prepare_scoring(opened: OpenedRun) -> Callable[[], Sequence[ScoredRequest]]:
    names = read_names(opened.data)
    inputs = list_inputs(opened.config, opened.data, names)
    vocabularies = read_vocabularies(opened.config, opened.data, names, inputs)
    requests = build_unpublished(inputs, vocabularies, opened.config.data.max_history_length)
    return partial(score_requests, opened, names, 0.0, inputs, requests)


@pytest.mark.parametrize(("size", "lowest", "highest"), [(1, 1e-5, 1e-5), (17, 1.1e-5, 4.9e-5), (1e4, 5e-5, 5e-5)])
def test_more_is_allowed_only_if_float32_rounds_to_more(
    size: float, lowest: float, highest: float, runs: ServedRuns
) -> None:
    """Two equal units, of which one is taken from the other `size` times: what is left is what they round to."""
    opened = runs.open("base")
    dense, logit = opened.model.mlp.dense[0], opened.model.logit
    for variable in (dense.kernel, dense.bias):
        values = variable.numpy()
        values[..., 1] = values[..., 0]
        variable.assign(values)
    kernel = logit.kernel.numpy()
    kernel[:2, 0] = size, -size
    logit.kernel.assign(kernel)
    score = prepare_scoring(opened)
    before = [each.logit.tolist() for each in score()]
    assert lowest <= find_tolerance(opened, score) <= highest
    assert [each.logit.tolist() for each in score()] == before


def test_what_fills_empty_places_is_no_behaviour_there_though_it_is_an_item(runs: ServedRuns) -> None:
    """As `predict` reads histories."""
    opened = runs.open("din", search={"keep": 2, "recent": 3})
    names = read_names(opened.data)
    inputs = list_inputs(opened.config, opened.data, names)
    history = [["7", "a", "7", "0"], ["7", "", "", "7"]]
    assert opened.config.data.sequences is not None
    clicks = opened.config.data.sequences["clicks"]
    reader = SequenceReader("history", clicks, {"item": ["hist"]}, HistoryFormat("^", frozenset()))
    lists, _ = reader.read(pa.table({"hist": [[each for each in row if each] for row in history]}), None)
    assert lists["item"].lengths.tolist() == [2, 0]
    vocabularies = read_vocabularies(opened.config, opened.data, names, inputs)
    request = build_golden(inputs, vocabularies, 6)[1]
    values = {name: each[:2] for name, each in request.inputs.items()}
    longer = {name: [row[:4] for row in each] for name, each in values.items() if name.startswith("history_")}
    request = Request("padded", {**values, **longer, "item": ["7", "0"], "history": history})
    (scored,) = score_requests(opened, names, 0.0, inputs, [request])
    assert {name: each.tolist() for name, each in scored.counts.items()} == {
        "known": [True, False],
        "behaviours": [2, 0],
        "known_behaviours": [1, 0],
    }
    assert scored.activation_weights is not None
    assert (scored.activation_weights != 0).tolist() == [[False, True, False, True], [False] * 4]


def test_probabilities_may_differ_as_logits_beyond_1_may(runs: ServedRuns) -> None:
    (scored, *_) = prepare_scoring(runs.open("lr", Calibration("platt", slope=1.0, positive_share=0.5)))()
    row = int(np.abs(scored.logit).argmax())
    size = abs(float(scored.logit[row]))
    assert size > 1.5
    log_odds = [np.log(each[row] / (1 - each[row])) for each in scored.probability_bounds]
    assert log_odds[1] - log_odds[0] == pytest.approx(2 * TOLERANCE * size, rel=0.05)
