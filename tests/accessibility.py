"""What axe, the checker of accessibility, finds on a page; and how a page is looked at on a phone and in the dark."""

from importlib.resources import files
from itertools import product
from typing import Any

VIEWS = tuple(product((1300, 390), ("light", "dark")))  # width in pixels, colour scheme
RUN = """
const done = arguments[arguments.length - 1];
axe.run({exclude: arguments[0]}, {resultTypes: ["violations"]}).then(found => done(found.violations), done);
"""


def emulate(browser: Any, width: int, scheme: str) -> None:
    """Let the browser have a screen so wide, in pixels, and prefer a colour scheme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def serious_problems(browser: Any, *excluded: str) -> list[str]:
    """What is serious or critical on the page that the browser shows, but for parts that selectors exclude."""
    browser.execute_script(files("axe_playwright_python").joinpath("axe.min.js").read_text())  # nothing else of it
    found = browser.execute_async_script(RUN, [[selector] for selector in excluded])
    assert isinstance(found, list), found
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
