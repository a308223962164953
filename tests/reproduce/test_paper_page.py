"""The page: what is published beside what was measured, failures, pictures, and nothing from elsewhere."""

import html
import re
from pathlib import Path

import pytest
from paper_cells import finish, plan_cells, write_attention

from din_train.reproduce.paper_page import write_paper

pytestmark = pytest.mark.figures


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Electronics with one failure, MovieLens with nothing measured."""
    out = tmp_path_factory.mktemp("out")
    cells = plan_cells(out, "electronics", "table3", "table4", "figure5")
    values = {"base": 0.86, "wide-deep": 0.861, "din": 0.87, "din-dice": 0.88, "base-none": 0.85, "base-aware": 0.855}
    for cell in cells:
        if cell.place[-1] in values:
            finish(cell, values[cell.place[-1]])
    write_attention(next(cell for cell in cells if cell.name == "electronics-ours-din-dice-seed1"))
    next(cell for cell in cells if cell.place[-1] == "pnn").record_failure("no room <on> the disk")
    write_paper(out, [*cells, *plan_cells(out, "movielens", "table3")])
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "index.html").read_text(encoding="utf-8")


def find_rows(page: str, label: str) -> dict[str, list[str]]:
    """First cell -> the others, of the table in the region of that label."""
    region = re.search(rf'<div[^>]*aria-label="{re.escape(label)}"[^>]*>(.*?)</div>', page, re.DOTALL)
    assert region, label
    rows = {}
    for row in re.findall(r"<tr.*?</tr>", region[1], re.DOTALL):
        first, *others = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        rows[html.unescape(first)] = [html.unescape(each) for each in others]
    return rows


def test_withdrawn_values_are_struck_through_with_the_reason(page: str) -> None:
    struck = re.findall(r'<del title="([^"]*)">([\d.]+)</del> withdrawn', page)
    assert [value for _, value in struck] == ["0.8818", "0.8871"] * 4  # in each of the four recipes
    assert all("second batch norm layer" in reason for reason, _ in struck)
    assert "Nothing is compared with those values." in page
    for value in ("0.8818", "0.8871"):
        bare = re.sub(r"<del.*?</del>|<svg.*?</svg>", "", page, flags=re.DOTALL)
        assert value not in bare


def test_table_3_has_a_table_a_recipe(page: str) -> None:
    ours = find_rows(page, "Table 3, Amazon Electronics (2014, 5-core), recipe ours")
    assert list(ours) == ["Model", "LR", "BaseModel", "Wide&Deep", "PNN", "DeepFM", "DIN", "DIN with Dice"]
    assert ours["Wide&Deep"] == ["1", "0.8610", "", "0.7500", "+0.28 %", "0.8637", "", "", "-0.0027", "reproduced"]
    assert ours["DIN"][-4:] == ["0.8698", "", "+0.0002", "reproduced"]
    assert ours["DIN with Dice"][-4:] == ["0.8711", "0.8835", "+0.0089", "above"]
    assert ours["PNN"][0] == "0"
    for recipe in ("paper", "official"):
        assert list(find_rows(page, f"Table 3, Amazon Electronics (2014, 5-core), recipe {recipe}"))[1:] == [
            *("DIN", "DIN with Dice")
        ]
    side_by_side = find_rows(page, "Recipes on Amazon Electronics (2014, 5-core)")
    assert side_by_side["Model"] == [
        *("ours", "ours, with the strong preset", "paper", "official: epoch chosen on the test set")
    ]
    assert side_by_side["BaseModel"] == ["0.8600", "0.8600", "", ""]
    assert side_by_side["DIN"] == ["0.8700"] * 4
    assert "The order" not in page
    assert "Measured on electronics by recipe ours: BaseModel = Wide&amp;Deep &lt; DIN &lt; DIN with Dice" in page


def test_regularisation_failures_costs_and_the_command(out: Path, page: str) -> None:
    rows = find_rows(page, "Regularisation on Amazon Electronics (2014, 5-core)")
    assert rows["mini-batch aware L2"] == ["1", "0.8550", "", "0.7500", "+1.43 %", "0.6031", "+7.51 %"]
    assert "<b>electronics-ours-pnn-seed1</b>: no room &lt;on&gt; the disk" in page
    cells = find_rows(page, "Cells")
    assert cells["electronics-ours-pnn-seed1"] == ["failed", *[""] * 5]
    assert cells["electronics-ours-din-seed1"] == ["finished", "0.870000", "0.750000", "3", "2 min", "1.50 GB"]
    assert cells["movielens-ours-din-seed1"][0] == "not finished"
    assert "din-train reproduce --suite table3,table4 --data electronics,movielens --seeds 1 --data-dir FOLDER" in page
    assert str(out) not in page


def test_pictures_are_in_the_page_and_beside_it(out: Path, page: str) -> None:
    figures = re.findall(r'<figure id="figure-([^"]*)">\s*<svg', page)
    assert figures == ["table3-electronics", "table4-electronics", *(f"figure5-electronics-{n}" for n in range(1, 7))]
    assert "Stove &amp; pan" in page
    files = sorted(path.name for path in (out / "electronics").iterdir())
    names = ["table3", "table4", *(f"figure5-{n}" for n in range(1, 7))]
    assert files == sorted(f"{name}.{kind}" for name in names for kind in ("svg", "png"))
    legend = (out / "electronics" / "table3.svg").read_text()
    for each in ("published, withdrawn", "corrected 2020", "BARS", "official (epoch chosen on the test set)"):
        assert each in legend
    assert "published" not in (out / "electronics" / "table4.svg").read_text()  # the paper's are on other data


def test_the_page_needs_nothing_else(page: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert not re.findall(r"<(?:script|link|iframe|object)\b|@import|url\((?!#)", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_damaged_files_leave_the_rest(tmp_path: Path) -> None:
    cells = plan_cells(tmp_path, "sports", "table3", recipes=("ours",), models=("base", "din-dice"))
    for cell in cells:
        finish(cell, 0.8)
    cells[0].run.metrics_file().write_text("{")
    cells[1].run.attention_file.write_text("{")
    write_paper(tmp_path, cells)
    rows = find_rows((tmp_path / "index.html").read_text(), "Cells")
    assert [row[0] for row in rows.values()] == ["State", "metrics.json is damaged", "finished"]


def test_a_page_before_anything_has_finished(tmp_path: Path) -> None:
    write_paper(tmp_path, plan_cells(tmp_path, "sports", "table3"))
    page = (tmp_path / "index.html").read_text()
    assert "Nothing has finished yet." in page
    assert "<figure" not in page
    assert "Nothing has finished yet." in (tmp_path / "table3.md").read_text()
