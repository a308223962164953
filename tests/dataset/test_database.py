"""DuckDB as the config says: memory, threads, where it spills; and what is told when memory runs out."""

from pathlib import Path
from typing import Any

import pytest
from log_factory import make_config

from din_train.dataset.database import connect
from din_train.errors import RunError


def read_settings(folder: Path, **data: Any) -> dict[str, Any]:
    with connect(make_config(folder, data=data).data, folder) as connection:
        names = ("threads", "memory_limit", "temp_directory")
        return {name: connection.con.execute(f"SELECT current_setting('{name}')").fetchone()[0] for name in names}


def test_settings_are_the_configs(tmp_path: Path) -> None:
    settings = read_settings(tmp_path, threads=3, memory_limit="123MB")
    assert settings == {"threads": 3, "memory_limit": "117.3 MiB", "temp_directory": str(tmp_path / "spill")}
    assert read_settings(tmp_path, threads=1)["threads"] == 1


def run_out_of_memory(folder: Path) -> None:
    with connect(make_config(folder, data={"memory_limit": "10MB", "threads": 1}).data, folder) as connection:
        connection.con.execute("SET max_temp_directory_size = '1MB'")
        connection.con.execute("SELECT list(i) FROM range(20_000_000) t(i)").fetchone()


def test_out_of_memory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"raise data\.memory_limit or free disk space"):
        run_out_of_memory(tmp_path)
