"""`fit --no-test` reads no test row; a later `--resume` scores the test split as if it had been one training."""

from collections.abc import Callable

import pytest
from workplace import QUICK, Workplace

from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, Samples


def test_no_test_row_is_read_until_the_run_is_resumed(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test rows are planted: who asks for them fails."""
    real: Callable[..., Samples] = PreparedData.samples

    def plant(data: PreparedData, split: Split, *arguments: int) -> Samples:
        assert split is not Split.TEST
        return real(data, split, *arguments)

    run = ("--run-dir", "runs/trial", *QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(PreparedData, "samples", plant)
        result = workplace.fit(*run, "--no-test")
        assert result.exit_code == 0, result.output
        assert "(no test row was read)" in result.stderr
        left = workplace.list_files()
        assert not any("test" in path or "metrics" in path for path in left if path.startswith("runs/"))
        assert workplace.fit(*run, "--no-test", "--resume").exit_code == 0
        failed = workplace.fit(*run, "--resume")
        assert failed.exit_code == 1  # the plant is found
    assert workplace.fit(*run, "--resume").exit_code == 0
    assert workplace.fit("--run-dir", "runs/whole", *QUICK).exit_code == 0
    assert workplace.read_json("runs/trial/metrics.json") == workplace.read_json("runs/whole/metrics.json")


def test_a_choice_by_the_test_split_is_refused(workplace: Workplace) -> None:
    select = ("--set", "data.protocol=paper", "--set", "training.select_on=test")
    result = workplace.fit("--no-test", *select)
    assert result.exit_code == 2
    assert "training.select_on: received 'test', whose rows --no-test leaves unread" in result.stderr
