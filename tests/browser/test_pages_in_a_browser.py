"""A real run's report, a comparison and an explanation, opened in a headless Chromium: `make test-browser`.

Screenshots are left in `screenshots/`, to be looked at.
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).parents[2]
SCREENSHOTS = REPOSITORY / "screenshots"
SCREENS = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 900}}

# What is asked of the page, in the page. Distances are CSS pixels.
MEASURE = """() => {
  const parse = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = color => parse(color).map(each => each / 255)
    .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const background = getComputedStyle(document.body).backgroundColor;
  const texts = [...document.querySelectorAll('figure svg text')].filter(each => each.textContent.trim());
  return {
    page: luminance(background),
    scroll: document.documentElement.scrollWidth,
    wide: [...document.querySelectorAll('body *')].filter(each => !each.closest('svg, .scroll, pre:not(.command)'))
      .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.outerHTML.slice(0, 80)),
    hidden: [...document.querySelectorAll('.facts, .command')]
      .filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.className),
    body: contrast(getComputedStyle(document.body).color, background),
    figures: [...document.querySelectorAll('figure')].map(figure => {
      const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
      return {
        id: figure.id, width: box.width, height: box.height, paths: svg.querySelectorAll('path').length,
        label: svg.getAttribute('aria-label'), caption: figure.querySelector('figcaption').textContent,
      };
    }),
    smallest: Math.min(...texts.map(each => parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a || 99)),
    faintest: Math.min(...texts.map(each => contrast(getComputedStyle(each).fill, background))),
    cut: texts.filter(each => {
      const text = each.getBoundingClientRect(), box = each.closest('svg').getBoundingClientRect();
      return text.left < box.left - 1 || text.right > box.right + 1 || text.top < box.top - 2
        || text.bottom > box.bottom + 2;
    }).map(each => `${each.closest('figure').id}: ${each.textContent}`),
    ids: [...document.querySelectorAll('[id]')].map(each => each.id),
  };
}"""


@pytest.fixture(scope="module")
def pages(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of the commands themselves, of models trained on the shipped sample."""
    del browser  # first: without one nothing needs to be trained
    folder = tmp_path_factory.mktemp("runs")
    (folder / "data").symlink_to(REPOSITORY / "data")

    def run(*arguments: str) -> None:
        command = [sys.executable, "-m", "din_train", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    fit = ("fit", "--config", str(REPOSITORY / "configs/sample.yaml"), "--set", "training.epochs=3")
    run(*fit, "--set", "model.name=base", "--set", "name=sample-base")
    run(*fit, "--set", "training.refit=true")
    run("compare", "runs/sample-base", "runs/sample", "--report", "comparison.html")
    example = orjson.loads((folder / "runs/sample/attention.json").read_bytes())["examples"][0]
    pair = ("--user", example["user"], "--item", example["clicked"]["item"])
    run("explain", "--run-dir", "runs/sample", *pair, "--output", "explanation.html")
    return {
        "run": folder / "runs/sample/report.html",
        "base": folder / "runs/sample-base/report.html",
        "comparison": folder / "comparison.html",
        "explanation": folder / "explanation.html",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", ["run", "base", "comparison", "explanation"])
def test_a_page_is_whole_and_readable(
    browser: "Browser", pages: dict[str, Path], name: str, screen: str, scheme: Any
) -> None:
    size: Any = SCREENS[screen]
    context = browser.new_context(
        viewport=size, color_scheme=scheme, is_mobile=screen == "phone", device_scale_factor=1.5
    )
    page = context.new_page()
    said, asked = _listen(page)
    page.goto(pages[name].as_uri())
    found = page.evaluate(MEASURE)
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{screen}-{scheme}.png", full_page=True)
    context.close()

    assert said == []
    assert asked == [pages[name].as_uri()]
    assert found["scroll"] <= size["width"]
    assert found["wide"] == []
    assert found["hidden"] == []
    assert found["page"] < 0.05 if scheme == "dark" else found["page"] > 0.9
    assert found["body"] > 7
    assert len(found["ids"]) == len(set(found["ids"]))
    _check_figures(found, pages[name])


def _listen(page: "Page") -> tuple[list[str], list[str]]:
    """What the console and failed loads say, and every address asked for."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    page.on("request", lambda request: asked.append(request.url))
    return said, asked


def _check_figures(found: dict[str, Any], path: Path) -> None:
    ids = {each["id"].removeprefix("figure-") for each in found["figures"]}
    if path.name == "report.html":
        assert ids == {each.stem for each in (path.parent / "plots").glob("*.svg")}
        assert {"loss", "watched", "learning-rate", "roc", "reliability", "score-histograms", "history-length"} <= ids
        assert {"slices-history-length", "slices-target-popularity", "slices-target-item"} <= ids
        assert ("attention-1" in ids) == (path.parent / "attention.json").exists()
    elif path.name == "explanation.html":
        assert ids == {"weights"}
    else:
        assert {"differences-gauc", "differences-auc", "runs-gauc", "runs-auc", "slices-1", "slices-2"} <= ids
    for each in found["figures"]:
        assert each["width"] > 200, each
        assert each["height"] > 60, each
        assert each["paths"] > 1, each
        assert each["label"], each
        assert each["caption"], each
    assert found["smallest"] >= 8
    assert found["faintest"] > 4.5
    assert found["cut"] == []
