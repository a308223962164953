"""What a server counts for Prometheus. The share of unknown ids is the first sign that the data drift:

rate(din_train_unknown_items_total[1h]) / rate(din_train_rows_total[1h])
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram

_REQUESTS = Counter("din_train_requests", "Requests to score rows, by protocol and status", ["protocol", "status"])
_SECONDS = Histogram(
    "din_train_request_seconds",
    "From the whole request to its answer",
    ["protocol"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
_ROWS = Counter("din_train_rows", "Rows (candidates) scored")
_UNKNOWN_ITEMS = Counter("din_train_unknown_items", "Candidates that the model does not know")
_BEHAVIOURS = Counter("din_train_behaviours", "Behaviours in the histories; a history for all rows counts once")
_UNKNOWN_BEHAVIOURS = Counter("din_train_unknown_behaviours", "Behaviours with items that the model does not know")


def count_request(protocol: str, status: str, seconds: float) -> None:
    """One answered request; status: an HTTP status, or a gRPC code's name."""
    _REQUESTS.labels(protocol, status).inc()
    _SECONDS.labels(protocol).observe(seconds)


def count_scored(scored: Mapping[str, NDArray[Any]]) -> None:
    """The model's outputs for a request: logit [M], known [M], behaviours and known_behaviours [M or 1]."""
    _ROWS.inc(len(scored["logit"]))
    if "known" in scored:
        _UNKNOWN_ITEMS.inc(int(np.sum(~scored["known"])))
    if "behaviours" in scored and "known_behaviours" in scored:
        _BEHAVIOURS.inc(int(scored["behaviours"].sum()))
        _UNKNOWN_BEHAVIOURS.inc(int(scored["behaviours"].sum() - scored["known_behaviours"].sum()))
