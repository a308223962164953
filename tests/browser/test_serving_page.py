"""The page of `din-train serve --ui`, used in a headless Chromium: a row is ranked, and ids are shown as they are.

The server runs in the environment of `make setup-serving`. Screenshots are left in `screenshots/`, to be looked at.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_export import EXAMPLE, write_export

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).parents[2]
SERVING = Path(os.environ.get("DIN_TRAIN_SERVING", REPOSITORY / ".venv-serving")) / "bin/din-train"
SCREENSHOTS = REPOSITORY / "screenshots"
SCREENS = {"phone": {"width": 390, "height": 844}, "desktop": {"width": 1280, "height": 900}}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def address(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server whose items have titles."""
    del browser  # first: without one nothing needs to be served
    if not SERVING.exists():
        pytest.skip("NO SERVER: the page was not opened in a browser; run `make setup-serving` first")
    golden = [{"name": HOSTILE, "inputs": {**EXAMPLE, "item": [HOSTILE, "a", "b"]}, "logit": [2.3, 3.3, 4.3]}]
    folder = write_export(tmp_path_factory.mktemp("page") / "export", golden=golden, titles={"b": f"A title {HOSTILE}"})
    command = [str(SERVING), "serve", "--export", str(folder), "--port", "0", "--grpc-port", "0", "--ui"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.match(r"http://[^ ]*", process.stderr.readline())
        try:
            assert found
            yield found[0]
        finally:
            process.terminate()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_candidates_are_ranked(browser: "Browser", address: str, screen: str, scheme: Any) -> None:
    size: Any = SCREENS[screen]
    context = browser.new_context(viewport=size, color_scheme=scheme, is_mobile=screen == "phone")
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/ui")

    assert _rank(page) == [
        f"b: A title {HOSTILE} 98.66 % logit 4.3000",
        "a 96.44 % logit 3.3000",
        f"{HOSTILE} (unknown) 90.89 % logit 2.3000",
    ]
    page.locator("#ranking summary").first.click()
    assert page.locator("#ranking li li").all_inner_texts()[:2] == [f"b: A title {HOSTILE} 4.0000", "gone 0.0000"]
    page.fill("#input-history", "a")
    page.fill("#input-item", "ü x")
    assert _rank(page) == ["ü x 99.50 % logit 5.3000"]
    page.fill("#input-timestamp", "soon")
    page.click("button")
    assert page.inner_text("#error") == 'timestamp: "soon" is no whole number'
    page.select_option("#golden", index=0)
    page.evaluate("document.querySelector('#golden').dispatchEvent(new Event('change'))")
    _rank(page)
    page.locator("#ranking summary").first.click()

    scroll = page.evaluate("document.documentElement.scrollWidth")
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"serve-{screen}-{scheme}.png", full_page=True)
    context.close()
    assert scroll <= size["width"]
    assert said == []
    assert {re.sub(r"^(http://[^/]*)/.*", r"\1", url) for url in asked if not url.startswith("data:")} == {address}


def _rank(page: "Page") -> list[str]:
    with page.expect_response("**/infer"):
        page.click("button")
    page.wait_for_selector("#ranking > li")
    return [" ".join(each.split()) for each in page.locator("#ranking > li > details > summary").all_inner_texts()]
