"""The serving benchmark's requests and its table; what it measures is too slow for a test."""

import io

from rich.console import Console
from scripts_factory import load_script


def test_a_history_is_sent_once_for_a_users_candidates() -> None:
    script = load_script("bench_serving")
    inputs = [
        {"name": "item", "shape": ["rows"], "example": "a"},
        {"name": "history", "shape": ["rows or 1", "positions"], "example": ["a"]},
        {"name": "user", "shape": ["rows or 1"], "example": "u"},
    ]
    requests = script.draw_requests(inputs, ["a", "b"], 5)
    sizes = {kind: [len(each[0][name]) for name in ("item", "history", "user")] for kind, each in requests.items()}
    assert sizes == {"row": [1, 1, 1], "candidates": [500, 1, 1], "tiled": [500, 500, 500]}
    assert len(requests["row"][0]["history"][0]) == 5


def test_http_stands_beside_the_forms() -> None:
    script = load_script("bench_serving")
    times = {"wall_p50": 0.0005, "wall_p99": 0.0008, "cpu_p50": 0.0004}
    by_http = {"p50_ms": 1.25, "p99_ms": 1.5, "server_cpu_ms": 0.75, "requests_per_second": 700}
    figures = {
        "onnx": {"cold_start": 1.0, **dict.fromkeys(script.KINDS, times)},
        "http": {"cold_start": 2.0, **dict.fromkeys(script.BY_HTTP, by_http)},
    }
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(script.build_table(figures))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    rows = [cells for cells in lines if cells]
    assert ["onnx", "one row", "0.50", "0.80", "0.40", "2,000", "1"] in rows
    assert ["http", "one row", "1.25", "1.50", "0.75", "700", "2"] in rows
    assert ["http", "500 of one user", "1.25", "1.50", "0.75", "350,000", ""] in rows
    assert ["http", "rows of 8 clients", "1.25", "1.50", "0.75", "700", ""] in rows
    assert ["http", "cold start 2.0 s", "", "", "", "", "4 s"] in rows
