"""The tables are what the runs' metrics.json say, of every cell that the folder has."""

import csv
import re
import statistics
from pathlib import Path
from typing import Any

import orjson
import pytest
from paper_cells import finish, plan_cells

from din_train.reproduce.paper_page import describe_reproduction, write_paper
from din_train.reproduce.paper_tables import TableLine, compute_paired_difference, describe_order
from din_train.sweep import Cell


def read_csv(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    key = "model" if "model" in rows[0] else "regularisation"
    return {(row["data"], row["recipe"], row[key]): row for row in rows}


def finish_all(cells: list[Cell], values: dict[str, float]) -> None:
    """Seed k is k thousandths above the first."""
    for cell in cells:
        if cell.place[-1] in values:
            finish(cell, values[cell.place[-1]] + 0.001 * (cell.seed - 1))


def test_means_deviations_and_differences_are_those_of_the_runs(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "electronics", "table3", recipes=("ours",), seeds=3, models=("base", "pnn", "lr"))
    values = {"base": 0.8600, "pnn": 0.8750}
    finish_all(cells, values)
    write_paper(tmp_path, cells)
    table = read_csv(tmp_path / "table3.csv")
    for key, model in (("base", "BaseModel"), ("pnn", "PNN")):
        runs = [tmp_path / "runs" / f"electronics-ours-{key}-seed{seed}" / "metrics.json" for seed in (1, 2, 3)]
        gauc = [orjson.loads(path.read_bytes())["gauc"] for path in runs]
        row = table["electronics", "ours", model]
        assert row["seeds"] == "3"
        assert row["gauc_mean"] == f"{statistics.mean(gauc):.6f}"
        assert row["gauc_sd"] == f"{statistics.stdev(gauc):.6f}" == "0.001000"
        assert row["auc_mean"] == "0.750000"
    base, pnn, lr = (table["electronics", "ours", model] for model in ("BaseModel", "PNN", "LR"))
    assert base["rela_impr"] == "+0.00"
    assert pnn["rela_impr"] == "+4.16"  # (.3760 / .3610 - 1) x 100
    assert (base["published"], base["difference"], base["verdict"]) == ("0.862400", "-0.001400", "reproduced")
    assert (pnn["corrected_2020"], pnn["difference"], pnn["verdict"]) == ("0.867900", "+0.008100", "above")
    assert (lr["seeds"], lr["gauc_mean"], lr["verdict"]) == ("0", "", "not measured")
    assert (lr["published"], base["bars"]) == ("0.774200", "")


def test_the_leaderboard_is_a_table_of_its_own(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports-x1", "leaderboard", seeds=2)
    finish_all(cells, {"base-dice": 0.83, "din-dice": 0.84, "dien": 0.835, "bst": 0.81, "tin": 0.845})
    write_paper(tmp_path, cells)
    table = read_csv(tmp_path / "leaderboard.csv")
    found = {model: (row["gauc_mean"], row["rela_impr"]) for (_, _, model), row in table.items()}
    assert found == {  # over .3305, BaseModel's GAUC above one half
        "BaseModel": ("0.830500", "+0.00"),
        "DIN with Dice": ("0.840500", "+3.03"),
        "DIEN": ("0.835500", "+1.51"),
        "BST": ("0.810500", "-6.05"),
        "TIN": ("0.845500", "+4.54"),
    }
    assert "BST < BaseModel < DIEN < DIN with Dice < TIN" in (tmp_path / "leaderboard.md").read_text()
    assert not (tmp_path / "table3.csv").exists()
    assert "din-train reproduce --suite leaderboard --data sports-x1 --seeds 2" in describe_reproduction(cells)


def test_withdrawn_values_are_struck_through_and_compared_with_nothing(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "electronics", "table3", recipes=("ours",))
    finish_all(cells, {"base": 0.8624, "din": 0.8700, "din-dice": 0.8871})
    write_paper(tmp_path, cells)
    text = (tmp_path / "table3.md").read_text()
    din, dice = (next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in NAMES)
    assert [cell.strip() for cell in din.split("|")[7:]] == [*("~~0.8818~~", "0.8698", "", "+0.0002", "reproduced", "")]
    assert [cell.strip() for cell in dice.split("|")[7:]] == [
        *("~~0.8871~~", "0.8711", "0.8835", "+0.0160", "above", "")
    ]
    assert text.count("~~") == 4
    assert "withdrawn by the authors in 2020" in text


NAMES = ("DIN", "DIN with Dice")


def test_recipes_stand_apart(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "electronics", "table3")
    for cell in cells:
        if cell.place[-1] == "din":
            finish(cell, {"ours": 0.87, "ours-strong": 0.89, "paper": 0.86, "official": 0.88}[cell.place[1]])
    write_paper(tmp_path, cells)
    table = read_csv(tmp_path / "table3.csv")
    means = {recipe: row["gauc_mean"] for (_, recipe, model), row in table.items() if model == "DIN"}
    assert means == {"ours": "0.870000", "ours-strong": "0.890000", "paper": "0.860000", "official": "0.880000"}
    sections = re.split(r"^## ", (tmp_path / "table3.md").read_text(), flags=re.MULTILINE)[1:]
    of_din = {
        s.splitlines()[0].rsplit(" ", 1)[1]: re.findall(r"^\| DIN \| 1 \| (\S+)", s, re.MULTILINE) for s in sections
    }
    assert of_din == {"ours": ["0.8700"], "ours-strong": ["0.8900"], "paper": ["0.8600"], "official": ["0.8800"]}
    assert "epoch chosen on the TEST set" in sections[3]
    assert "TEST" not in "".join(sections[:3])


def test_regularisations_are_over_none_and_so_named(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports", "table4")
    finish_all(cells, {"base-none": 0.6000, "base-dropout": 0.5900, "base": 0.6050, "base-aware": 0.6100})
    write_paper(tmp_path, cells)
    table = {row["regularisation"]: row for row in read_csv(tmp_path / "table4.csv").values()}
    assert {name: row["rela_impr_over_none"] for name, row in table.items()} == {
        "none": "+0.00",
        "dropout 50 % in the MLP": "-10.00",
        "frequency filter (items below 10 events share a row)": "",
        "L2 on every row": "+5.00",
        "mini-batch aware L2": "+10.00",
    }
    paper = {name: (row["paper_gauc_on_alibaba"], row["paper_rela_impr_over_none"]) for name, row in table.items()}
    assert paper["dropout 50 % in the MLP"] == ("0.597000", "+1.15")  # (.0970 / .0959 - 1) x 100
    assert paper["mini-batch aware L2"] == ("0.603100", "+7.51")
    assert paper["L2 on every row"] == ("", "")
    text = (tmp_path / "table4.md").read_text()
    assert "| Regularisation | Seeds | GAUC | sd | AUC | RelaImpr over none | Paper, on Alibaba's data |" in text
    assert "Verdict" not in text
    assert not (tmp_path / "table3.csv").exists()  # BaseModel alone is no table 3


def test_a_narrower_command_drops_no_row(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports", "table3", seeds=2)
    finish_all(cells, {"base": 0.8, "din": 0.82})
    narrow = plan_cells(tmp_path, "sports", "table3", recipes=("ours",), models=("lr",))
    finish_all(narrow, {"lr": 0.7})
    others = plan_cells(tmp_path, "sample", "table3", recipes=("ours",), models=("lr",))
    write_paper(tmp_path, [*narrow, *others])
    table = read_csv(tmp_path / "table3.csv")
    measured = {(data, model): row["seeds"] for (data, recipe, model), row in table.items() if recipe == "ours"}
    assert measured == {
        ("sports", "LR"): "1",
        ("sports", "BaseModel"): "2",
        ("sports", "DIN"): "2",
        ("sample", "LR"): "0",
    }
    assert table["sports", "ours", "DIN"]["rela_impr"] == "+6.66"  # (.3205 / .3005 - 1) x 100


def test_a_failed_cell_is_in_no_mean(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports", "table3", recipes=("ours",), seeds=2, models=("din",))
    finish_all(cells, {"din": 0.82})
    cells[1].record_failure("finished with another config")
    write_paper(tmp_path, cells)
    assert read_csv(tmp_path / "table3.csv")["sports", "ours", "DIN"]["gauc_mean"] == "0.820000"
    assert "- `sports-ours-din-seed2`: finished with another config" in (tmp_path / "sports.md").read_text()
    cells[1].record_failure(None)
    write_paper(tmp_path, cells)
    assert read_csv(tmp_path / "table3.csv")["sports", "ours", "DIN"]["gauc_mean"] == "0.820500"


def test_a_data_set_has_a_document_to_keep(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports", "table3", seeds=2)
    finish_all([cell for cell in cells if cell.place[1] == "ours"], {"base": 0.80, "din": 0.82})
    write_paper(tmp_path, cells)
    text = (tmp_path / "sports.md").read_text()
    assert text.startswith("# Amazon Sports & Outdoors (2014, 5-core)\n\nMeasured on 20")
    assert "```sh\ndin-train reproduce --suite table3 --data sports --seeds 2 --data-dir FOLDER\n```" in text
    assert "Measured on sports by recipe ours: BaseModel < DIN" in text
    assert "| DIN | 0.820000 | 0.821000 | 100 s | 1.50 GB |" not in text  # 100 s are 2 min
    assert "| DIN | 0.820000 | 0.821000 | 2 min | 1.50 GB |" in text
    assert "Seeds 1, 2." in text
    assert str(tmp_path) not in text
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert picture == "sports/table3.svg"
    assert (tmp_path / picture).stat().st_size < 50_000
    assert (tmp_path / "sports" / "table3.png").stat().st_size < 100_000


@pytest.mark.parametrize(
    ("data", "suites", "more", "command"),
    [
        ("sports", ("table3",), {"seeds": 3}, "--suite table3 --data sports --seeds 3 --data-dir FOLDER"),
        ("sample", ("table3", "table4"), {}, "--suite table3,table4 --data sample --seeds 1"),
        ("sample", ("table4",), {"seeds": 2}, "--suite table4 --data sample --seeds 2"),
        (
            "sports",
            ("table3",),
            {"recipes": ("ours",), "models": ("base", "lr")},
            "--suite table3 --data sports --seeds 1 --recipes ours --models lr,base --data-dir FOLDER",
        ),
    ],
)
def test_the_command_is_the_one_that_makes_these_cells(
    tmp_path: Path, data: str, suites: tuple[str, ...], more: dict[str, Any], command: str
) -> None:
    assert describe_reproduction(plan_cells(tmp_path, data, *suites, **more)) == f"din-train reproduce {command}"


MODELS = {
    "lr": "LR",
    "base": "BaseModel",
    "wide-deep": "Wide&Deep",
    "pnn": "PNN",
    "deepfm": "DeepFM",
    "din": "DIN",
    "din-dice": "DIN with Dice",
}


def line(key: str, *gauc: float) -> TableLine:
    return TableLine("sports", "ours", key, MODELS[key], dict(enumerate(gauc, start=1)))


def test_noise_is_the_standard_deviation_of_paired_differences() -> None:
    difference, noise = compute_paired_difference(line("base", 0.80, 0.90, 0.85), line("din", 0.81, 0.92, 0.88))
    assert difference == pytest.approx(0.02)
    assert noise == pytest.approx(0.01)


def test_only_common_seeds_are_paired() -> None:
    difference, _ = compute_paired_difference(line("base", 0.80, 0.90), line("din", 0.81, 0.91, 0.5))
    assert difference == pytest.approx(0.01)


def test_the_papers_order_holds() -> None:
    values = (0.70, 0.80, 0.81, 0.82, 0.83, 0.84, 0.85)
    sentence = describe_order([line(key, each, each) for key, each in zip(MODELS, values, strict=True)])
    assert "LR < BaseModel < Wide&Deep < PNN < DeepFM < DIN < DIN with Dice" in sentence
    assert "The paper's order holds." in sentence


def test_a_baseline_that_beats_din_is_said_so() -> None:
    values = {"lr": 0.70, "base": 0.80, "wide-deep": 0.81, "pnn": 0.82, "deepfm": 0.86, "din": 0.84, "din-dice": 0.85}
    sentence = describe_order([line(key, each, each) for key, each in values.items()])
    assert "DIN < DIN with Dice < DeepFM" in sentence
    assert sentence.endswith("It departs from the paper's order: DeepFM is above DIN by 0.0200.")


def test_a_difference_inside_the_noise_is_a_tie_and_departs_only_where_the_paper_is_strict() -> None:
    lines = [line("base", 0.80, 0.82), line("din", 0.82, 0.81), line("din-dice", 0.81, 0.825)]
    sentence = describe_order(lines)
    assert "BaseModel = DIN = DIN with Dice" in sentence
    assert "over 2 seeds" in sentence
    assert describe_order([line("base", 0.8, 0.82), line("pnn", 0.82, 0.81)]).endswith(
        "Nothing in it departs from the paper's order."
    )
    assert "DIN does not beat PNN" in describe_order([line("pnn", 0.80, 0.82), line("din", 0.82, 0.81)])


def test_one_seed_says_nothing_of_noise() -> None:
    sentence = describe_order([line("lr", 0.8), line("base", 0.8015)])
    assert "LR = BaseModel" in sentence
    assert "one seed" in sentence
    assert "BaseModel does not beat LR" in sentence


def test_nothing_is_said_of_a_single_model() -> None:
    assert describe_order([line("din", 0.8), line("base")]) == ""
