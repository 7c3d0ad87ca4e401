"""README and docs keep what they promise: commands exist and are accepted, links lead somewhere, messages are said."""

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from imagelab.commands import COMMANDS
from imagelab.settings import TuneSettings, parse
from imagelab.tuning.study_config import plan
from tests.conftest import ROOT
from tests.test_mlproject import ENTRY_POINTS

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
STORIES = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
SOURCE = ROOT / "src" / "imagelab"
MOST_LINES = 150
OF_OTHERS = (
    "mlflow ",
    "export ",
    "curl ",
    "(printf ",
    "optuna-dashboard ",
    "jupyter nbconvert ",
    ". .venv/bin/activate",
)
WORDS = {"weights=none", "weights=equal", "weights=validation"}  # where other pages have a file of the reader's
RUNS = re.compile(r"`((?:mlflow run|make|python -m) [^`]*)`")  # commands in the text


@dataclass(frozen=True)
class Line:
    """A command, and the page that it stands on."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def blocks(text: str, *languages: str) -> list[str]:
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", text, re.DOTALL)


def text_of(page: Path) -> str:
    """Of a page, or of what a notebook's script says between its code."""
    lines = page.read_text().splitlines(keepends=True)
    return "".join(lines if page.suffix == ".md" else [line[2:] or "\n" for line in lines if line.startswith("#")])


def commands_of(page: Path) -> list[str]:
    """The commands of a page's shell blocks and of its text, without comments."""
    text = text_of(page)
    typed = [line.split("  #")[0].strip() for block in blocks(text, "bash", "sh") for line in block.splitlines()]
    named = RUNS.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [command for command in (*typed, *named) if command and not command.startswith("#")]


LINES = [Line(page.name, command) for page in (*PAGES, *STORIES) for command in dict.fromkeys(commands_of(page))]


def lines_with(start: str) -> list[Line]:
    return [line for line in LINES if line.text.startswith(start)]


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    assert {"make train", "make ui"} <= {line.split("  ")[0] for line in lines[:25]}


def test_every_command_is_of_a_kind_that_is_looked_at() -> None:
    for line in LINES:
        assert line.text.startswith(("make ", "python -m ", *OF_OTHERS)), line


@pytest.mark.parametrize("line", lines_with("make "), ids=str)
def test_a_make_command_is_a_target(line: Line) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert line.words[1] in targets


@pytest.mark.parametrize("line", [line for line in lines_with("mlflow run ") if " -e " in line.text], ids=str)
def test_a_command_would_be_accepted(line: Line, tmp_path: Path) -> None:
    name = line.words[line.words.index("-e") + 1].replace("main", "train")
    assert name in ENTRY_POINTS
    given = [word for before, word in zip(line.words, line.words[1:], strict=False) if before == "-P"]
    settings = parse(COMMANDS[name].settings, name, with_stand_ins(given, tmp_path))
    if isinstance(settings, TuneSettings):
        plan(settings)


def with_stand_ins(given: list[str], folder: Path) -> list[str]:
    """Flags of the settings; what a reader has to put in himself (RUN_ID, PATH) and files of his are replaced."""
    (folder / "x.weights.h5").touch()
    own = {"weights": folder / "x.weights.h5", "images": folder, "resume": "0" * 32, "run_id": "0" * 32}
    own |= {"runs": f"{'1' * 32},{'2' * 32}", "parent": "0" * 32, "teacher": "0" * 32, "like": "0" * 32}
    pairs = (setting.split("=", 1) for setting in given if setting not in WORDS)
    return [f"--{name}={own.get(name, value)}" for name, value in pairs] + [f"--{word}" for word in WORDS & set(given)]


@pytest.mark.parametrize("line", lines_with("python -m "), ids=str)
def test_a_module_that_is_run_exists_and_has_these_options(line: Line) -> None:
    path = ROOT / f"{line.words[2].replace('.', '/')}.py"
    assert path.exists()
    options = [word for word in line.words[3:] if word.startswith("--") and word != "--help"]
    assert all(f'"{option}"' in path.read_text() for option in options)


@pytest.mark.parametrize(
    "line", [line for line in lines_with("mlflow ") if not line.text.startswith("mlflow run ")], ids=str
)
def test_a_command_of_mlflow_would_be_accepted(line: Line) -> None:
    from mlflow.cli import cli

    command: click.Command = cli
    words = line.words[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("mlflow", words)


def test_the_server_is_asked_with_files_that_are_there_on_paths_that_it_has() -> None:
    asking = [line.text for line in LINES if "curl" in line.text]
    paths = set(re.findall(r'^ +"(/\w*)": \("(?:GET|POST)"', (SOURCE / "serving" / "app.py").read_text(), re.MULTILINE))
    assert asking
    for text in asking:
        assert set(re.findall(r"http://127.0.0.1:5001(/\w*)", text)) <= paths, text
        assert all((ROOT / name).exists() for name in re.findall(r"base64 < ([^;]+);", text)), text


def test_python_in_the_pages_can_be_compiled() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(), "python"):
            ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not heading or heading in headings_of(path), f"{target}#{heading}"


def headings_of(page: Path) -> set[str]:
    """As links name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_files_that_are_named_exist(page: Path) -> None:
    known = {name for command in COMMANDS.values() for name in command.settings.model_fields}
    text = page.read_text()
    for name in re.findall(r"`(?:-P )?([a-z_0-9]+)=[^`]*`", text):
        assert name in known | {"name", "study"}, name
    for name in re.findall(r"`((?:src|tests|docs|benchmarks|entrypoints)/[\w/.]*)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_defaults_that_are_named_are_those_of_the_code(page: Path) -> None:
    fields = [command.settings.model_fields for command in COMMANDS.values()]
    for name, value in re.findall(r"`([a-z_]+)` \((\d[\d.]*)\b", page.read_text()):
        defaults = {each[name].default for each in fields if name in each}
        assert defaults & {None, float(value)}, f"{name} ({value})"


def test_every_page_is_named_in_the_readme() -> None:
    text = README.read_text()
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text] == []


def test_the_readme_names_every_command_and_every_file_of_the_package() -> None:
    text = README.read_text()
    assert [name for name in COMMANDS if f"| `{name}` |" not in text] == []
    entries = [path.name for path in SOURCE.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")]
    assert [name for name in entries if not re.search(rf"[`/]{re.escape(name)}[/`]", text)] == []


def test_the_files_that_a_run_is_said_to_hold_are_written_by_that_name() -> None:
    [tree] = re.findall(r"```\n(parameters .*?)```", README.read_text(), re.DOTALL)
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    names = re.findall(r"(\w+)\.(?:csv|json|parquet|txt)\b", tree)
    assert len(names) > 8
    assert [name for name in names if name not in code] == []


def test_variables_of_the_environment_that_are_named_are_read() -> None:
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    for page in PAGES:
        for name in re.findall(r"`([A-Z]+_[A-Z0-9_]+)(?:=\d)?`", page.read_text()):
            assert name in code or name in PLACEHOLDERS, name


PLACEHOLDERS = ("PLAIN_KERAS",)


def test_the_messages_of_troubleshooting_are_said() -> None:
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text() for path in SOURCE.rglob("*.py")))
    rows = re.findall(r"^\| `([^`]+)`", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    assert [message for message in rows if message not in code] == []
