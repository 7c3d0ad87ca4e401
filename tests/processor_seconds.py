"""Processor seconds of each test, a figure that holds on a busy machine, too: those of all processes that have ended.

They are counted from the end of one test to the end of the next, so that fixtures belong to the test that needed them
first.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.forking.process import USED

SHOWN = 20


def used() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + sum(USED)


class ProcessorSeconds:
    def __init__(self) -> None:
        self.before = 0.0  # so that the first test bears the imports
        self.tests: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[Any]:
        """Append the seconds to the report of the teardown, which comes last."""
        report = yield
        if report.when == "teardown":
            now = used()
            report.user_properties.append(("processor_seconds", now - self.before))
            self.before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            seconds: Any = dict(report.user_properties).get("processor_seconds", 0.0)
            self.tests[report.nodeid] = seconds

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        files: dict[str, float] = defaultdict(float)
        for name, seconds in self.tests.items():
            files[name.split("::")[0]] += seconds
        total = sum(self.tests.values())
        for title, figures in ((f"processor seconds by file, {total:.0f} in all", files), ("by test", self.tests)):
            terminalreporter.section(title)
            for name, seconds in sorted(figures.items(), key=lambda pair: -pair[1])[:SHOWN]:
                terminalreporter.write_line(f"{seconds:8.1f}  {name}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ProcessorSeconds())
