"""The page at `/` in headless Chromium, by mouse, clipboard and keyboard."""

import base64
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.accessibility import VIEWS, emulate, serious_problems
from tests.conftest import Project, wait_until
from tests.serving import grey_levels
from tests.serving.pictures import file_of, half_white, plain, text_of
from tests.serving.serve_process import Serving

HOSTILE = "<img src=x onerror=document.title='broken'>"
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "picture.png", { type: "image/png" }));
const kind = arguments[1] === "paste" ? ClipboardEvent : DragEvent;
const options = { bubbles: true, cancelable: true };
options[arguments[1] === "paste" ? "clipboardData" : "dataTransfer"] = data;
document.getElementById("drop").dispatchEvent(new kind(arguments[1], options));
"""


@pytest.fixture(scope="module")
def serving(shop: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with a token, whose champion has hostile names of classes."""
    (token := tmp_path_factory.mktemp("token") / "token").write_text("secret")
    version = grey_levels.register(shop.client, shop.folder / "hostile", "digits-basic_cnn", HOSTILE)
    shop.client.set_registered_model_alias("digits-basic_cnn", "hostile", version)
    serving = Serving(shop, "alias=hostile", f"token_file={token}")
    serving.version = version
    serving.wait("ask it:")
    yield serving
    serving.stop()
    shop.client.delete_registered_model_alias("digits-basic_cnn", "hostile")


@pytest.fixture
def page(serving: Serving, browser: Any) -> Any:
    """The page, after its token was given."""
    browser.get(serving.address)
    give(browser, "drop", plain(9))
    wait_until(lambda: browser.find_element("id", "token").is_displayed())
    assert "Authorization" in browser.find_element("id", "message").text
    browser.find_element("id", "token").send_keys("secret\n")
    wait_until(lambda: "answered by version" in message(browser))
    return browser


def give(page: Any, how: str, image: Image.Image | bytes) -> None:
    """Drop or paste a picture."""
    page.execute_script("document.getElementById('message').textContent = ''")
    page.execute_script(DROP, text_of(image), how)


def message(page: Any) -> str:
    return str(page.find_element("id", "message").text)


def shown(page: Any, name: str) -> np.ndarray:
    """The pixels of a picture of the page."""
    source = page.find_element("id", name).get_attribute("src")
    return np.asarray(Image.open(BytesIO(base64.b64decode(source.split(",")[1]))), float)


def answered(page: Any, level: int) -> None:
    wait_until(lambda: f"{HOSTILE} {level}, " in message(page))


def test_dropped_pasted_and_chosen(page: Any, serving: Serving, tmp_path: Path) -> None:
    give(page, "drop", plain(255))
    answered(page, 9)
    give(page, "paste", plain(0))
    answered(page, 0)
    (tmp_path / "picture.png").write_bytes(file_of(half_white()))
    page.find_element("id", "file").send_keys(str(tmp_path / "picture.png"))
    answered(page, 9)

    rows = page.find_elements("css selector", "#top tr")
    assert len(rows) == 5
    assert rows[0].text.startswith(f"{HOSTILE} 9")
    widths = [row.find_element("css selector", ".bar div").size["width"] for row in rows]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[1]
    picture, looked_at = shown(page, "picture"), shown(page, "looked-at")
    assert picture[20, 20, 2] > 250  # white
    assert np.abs(looked_at - picture).max() > 50  # red, where it looked
    assert np.abs(looked_at - picture)[:100, :100].max() > np.abs(looked_at - picture)[124:, 124:].max()
    assert f"answered by version {serving.version}" in message(page)
    wait_until(lambda: f"version {serving.version} (hostile)" in page.find_element("id", "title").text)
    assert page.title == "imagelab"  # the names of classes are text, never a page of their own
    assert not page.find_elements("css selector", "#top img, #message img, #answer img")


def test_what_cannot_be_used_is_said_in_the_words_of_the_server(page: Any) -> None:
    give(page, "drop", b"this is no picture")
    wait_until(lambda: message(page) == "the image cannot be decoded; known formats: PNG, JPEG, WEBP, GIF, BMP")
    assert not page.find_element("id", "result").is_displayed()
    page.execute_script("document.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer() }))")
    wait_until(lambda: message(page) == "there is no picture in what was dropped or pasted")
    give(page, "drop", plain(255))
    answered(page, 9)


def test_the_keyboard_is_enough(page: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    page.get(page.current_url)
    page.execute_script(
        "document.getElementById('file').addEventListener('click', (event) => {"
        " window.asked = true; event.preventDefault(); })"
    )
    ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.switch_to.active_element.get_attribute("id") == "file"
    outline = "return getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert page.execute_script(outline) == "solid"  # one sees where one is
    ActionChains(page).send_keys(Keys.ENTER).perform()
    wait_until(lambda: page.execute_script("return window.asked"))
    assert page.find_element("id", "message").get_attribute("role") == "status"


def test_nothing_comes_from_elsewhere(page: Any, serving: Serving) -> None:
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert {each for each in loaded if not each.startswith("data:")} <= {
        f"{serving.address}/{path}" for path in ("explain", "version", "favicon.ico")
    }
    assert not [entry for entry in page.get_log("browser") if "Content Security Policy" in entry["message"]]


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_the_window_and_is_accessible(page: Any, width: int, scheme: str) -> None:
    emulate(page, width, scheme)
    give(page, "drop", half_white())
    answered(page, 9)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert serious_problems(page) == []
    if folder := os.environ.get("IMAGELAB_SCREENSHOTS"):
        page.save_screenshot(f"{folder}/page-{width}-{scheme}.png")
