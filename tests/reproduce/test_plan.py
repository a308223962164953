"""The plan's times and sizes, worked out by hand."""

from pathlib import Path

import pytest
from paper_cells import finish, plan_cells

from din_train.reproduce import plan as planning
from din_train.reproduce.plan import build_plan, describe_plan, estimate, format_seconds
from din_train.reproduce.probe import Probe

ROWS = {"train": 1_000, "validation": 100, "test": 200}
MANIFEST = {"samples": ROWS, "bytes": 5_000_000, "fingerprint": "f"}
PROBE = Probe(samples_per_second=100.0, parameters=1_000, peak_bytes=2_000_000_000)


def test_ours_selects_on_validation_and_trains_again_on_both(tmp_path: Path) -> None:
    base, din = plan_cells(tmp_path, "sports", "table3", recipes=("ours",), models=("base", "din"))
    # 8 epochs of 1,000 rows, each with 100 scored at 0.4; a refit of 8 x 1,100; 200 scored at the end
    work = 8 * (1_000 + 0.4 * 100) + 8 * 1_100 + 0.4 * 200
    assert work == 17_200
    assert estimate(din, MANIFEST, "din", PROBE).seconds == pytest.approx(12 + 172)
    assert estimate(base, MANIFEST, "din", PROBE).seconds == pytest.approx(12 + 172 * 0.6)
    assert estimate(din, MANIFEST, "base", PROBE).seconds == pytest.approx(12 + 172 / 0.6)
    assert estimate(din, MANIFEST, "din", PROBE).disk_bytes == 28_000  # 7 numbers of 4 bytes a parameter


def test_official_scores_the_test_split_after_every_epoch_and_paper_only_at_the_end(tmp_path: Path) -> None:
    paper, official = plan_cells(tmp_path, "sports", "table3", recipes=("paper", "official"), models=("din",))
    assert estimate(paper, MANIFEST, "din", PROBE).seconds == pytest.approx(12 + (6 * 1_000 + 80) / 100)
    assert estimate(official, MANIFEST, "din", PROBE).seconds == pytest.approx(12 + (10 * (1_000 + 80) + 80) / 100)


def test_totals_leave_out_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "run_probe", lambda _: PROBE)
    cells = plan_cells(tmp_path, "sports", "table3", recipes=("ours",), models=("base", "din"), seeds=2)
    finish(cells[0], 0.8)
    plan = build_plan(cells, {("sports", "ours"): MANIFEST})
    assert [cell.name for cell in plan.to_run] == [
        *("sports-ours-din-seed1", "sports-ours-base-seed2", "sports-ours-din-seed2")
    ]
    assert plan.seconds == pytest.approx(2 * (12 + 172) + 12 + 172 * 0.6)
    assert (plan.memory_bytes, plan.prepared_bytes, plan.disk_bytes) == (2_000_000_000, 5_000_000, 4 * 28_000)
    assert describe_plan(plan).startswith("4 cells, 1 of them done; the others take at most 8 min by a short probe")


def test_a_probe_is_kept_until_the_data_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Path] = []
    monkeypatch.setattr(planning, "run_probe", lambda path: probed.append(path) or PROBE)
    cells = plan_cells(tmp_path, "sports", "table3", recipes=("ours", "official"), models=("base", "din"))
    manifests = {("sports", "ours"): MANIFEST, ("sports", "paper"): MANIFEST}
    for _ in range(2):
        build_plan(cells, manifests)
    assert [path.name for path in probed] == ["sports-ours-din-seed1.yaml", "sports-official-din-seed1.yaml"]
    build_plan(cells, {key: {**MANIFEST, "fingerprint": "another"} for key in manifests})
    assert len(probed) == 4


def test_times_are_readable() -> None:
    assert [format_seconds(each) for each in (45, 91, 3_600, 11_100)] == ["45 s", "2 min", "60 min", "3 h 05 min"]
