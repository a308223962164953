"""The command line in this process, on a small log of its own in a folder of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml
from click.testing import CliRunner, Result

from din_train.checksums import indexed_file
from din_train.cli import cli

# Of `fit`, for what does not depend on the model: LR is trained in a third of the time.
QUICK = ("--set", "model.name=lr", "--set", "training.epochs=1")
EVENTS = [(f"u{n % 40}", f"i{(n * 7 + n // 40) % 97}", f"c{n % 5}", n) for n in range(600)]


@dataclass
class Workplace:
    """A folder with `log.tsv` and `small.yaml`, where commands run."""

    folder: Path

    def run(self, *arguments: str) -> Result:
        """`din-train ARGUMENTS`."""
        return CliRunner().invoke(cli, arguments)

    def fit(self, *arguments: str) -> Result:
        """`din-train fit --config small.yaml ARGUMENTS`."""
        return self.run("fit", "--config", "small.yaml", *arguments)

    def write_config(self, **changes: Any) -> None:
        """`small.yaml`, with sections merged in."""
        values: dict[str, Any] = {
            "name": "small",
            "data": {
                "source": "table",
                "events": "log.tsv",
                "columns": {"user": "user", "item": "item", "category": "category", "timestamp": "time"},
                "prepared": "prepared/small",
            },
            "model": {
                "name": "din",
                "item_embedding_size": 4,
                "category_embedding_size": 4,
                "local_activation_unit": {"hidden_units": [8]},
                "mlp": {"hidden_units": [8]},
            },
            "training": {"epochs": 2, "batch_size": 64},
        }
        for section, keys in changes.items():
            values[section] = {**values.get(section, {}), **keys} if isinstance(keys, dict) else keys
        (self.folder / "small.yaml").write_text(yaml.safe_dump(values))

    def read_json(self, path: str) -> Any:
        return orjson.loads((self.folder / path).read_bytes())

    def list_files(self) -> list[str]:
        """Every file, without the locks that stay."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        )


def move_run(run: Path, old: Path, new: Path) -> None:
    """Let a copied run say the new folder in the absolute paths it records."""
    environment = run / "environment.json"
    with indexed_file(environment) as temporary:
        temporary.write_text(environment.read_text().replace(str(old), str(new)))
