"""Bars and lines of progress, with a clock that is turned by hand and figures that are made up."""

import io
import sys
from typing import Any

import pytest

from imagelab.progress import EpochProgress, images_progress, in_words


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def terminal_as_standard_error(monkeypatch: pytest.MonkeyPatch, kind: str = "xterm") -> Terminal:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", kind)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def row(epoch: int, val_accuracy: float = 0.8943) -> dict[str, Any]:
    figures = {"loss": 0.34412, "accuracy": 0.8764, "val_loss": 0.2889, "val_accuracy": val_accuracy}
    return {"epoch": epoch, **figures, "images_per_second": 2149.3}


def run_epoch(progress: EpochProgress, clock: Clock, epoch: int, compiling: float = 0.0) -> None:
    """10 batches of 2 s each, 5 s of validation and checkpoint."""
    progress.begin_epoch(epoch, 10)
    clock.now += compiling
    for batch in range(10):
        clock.now += 2
        progress.update(batch + 1)
    clock.now += 5
    progress.end_epoch(row(epoch), row(epoch))


def test_a_log_gets_a_line_an_epoch(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(15, 1000, clock=clock) as progress:
        for epoch in (1, 2, 3):
            run_epoch(progress, clock, epoch, compiling=40.0 if epoch == 1 else 0.0)
    output, errors = capsys.readouterr()
    assert output == ""
    lines = [line for line in errors.splitlines() if "loss" in line]
    figures = "loss 0.3441  accuracy 0.8764  val_loss 0.2889  val_accuracy 0.8943  2,149 images/s"
    assert lines == [  # 25 s an epoch; what compiling took at the beginning is not counted again
        f"epoch 1/15  {figures}  6 min left",
        f"epoch 2/15  {figures}  5 min left",
        f"epoch 3/15  {figures}  5 min left",
    ]


def test_a_long_epoch_is_not_silent(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(2, 1000, clock=clock) as progress:
        progress.begin_epoch(1, 100)
        clock.now += 8
        for batch in range(100):
            clock.now += 1
            progress.update(batch + 1)
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/2  2 of 100 batches  10 images/s  3 min left",
        "epoch 1/2  32 of 100 batches  10 images/s  3 min left",
        "epoch 1/2  62 of 100 batches  10 images/s  2 min left",
        "epoch 1/2  92 of 100 batches  10 images/s  2 min left",
    ]


def test_the_first_moments_after_compiling_are_no_speed(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(1, 1000, clock=clock) as progress:
        progress.begin_epoch(1, 100)
        clock.now += 6
        for batches in (1, 2):
            clock.now += 0.001
            progress.update(batches)
        clock.now += 1.999
        progress.update(4)
    assert capsys.readouterr().err.splitlines() == ["epoch 1/1  4 of 100 batches  15 images/s  1 min left"]


def test_time_left_counts_validation_and_checkpoints(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(3, 1000, clock=clock) as progress:
        run_epoch(progress, clock, 1)
        progress.begin_epoch(2, 10)
        clock.now += 10
        progress.update(5)
        assert progress.seconds_left(clock.now, 5) == 15 + 25
        clock.now += 3  # slower than the epoch before: what its batches need is counted, not what they needed there
        progress.update(5)
        assert progress.seconds_left(clock.now, 5) == 13 + 25


def test_after_a_resume_only_epochs_of_this_process_count(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(15, 1000, clock=clock) as progress:
        run_epoch(progress, clock, 14, compiling=1000.0)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("epoch 14/15  ")
    assert last.endswith("  25 s left")


def test_epochs_of_a_phase_are_counted_on(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(5, 1000, "fine_tune", clock) as progress:
        run_epoch(progress, clock, 4)
    early, last = capsys.readouterr().err.splitlines()
    assert early == "epoch 4/5  3 of 10 batches  50 images/s  34 s left in fine_tune"
    assert last.startswith("epoch 4/5  loss")
    assert last.endswith("25 s left in fine_tune")


def test_one_batch_an_epoch_is_enough(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with EpochProgress(3, 10, clock=clock) as progress:
        for epoch in (1, 2, 3):
            progress.begin_epoch(epoch, 1)
            clock.now += 2
            progress.update(1)
            progress.end_epoch(row(epoch), row(1))
    assert [line.rsplit("  ", 1)[1] for line in capsys.readouterr().err.splitlines()] == [
        "4 s left",
        "2 s left",
        "0 s left",
    ]


def test_a_terminal_gets_a_bar_and_short_lines_in_80_columns(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_standard_error(monkeypatch)
    with EpochProgress(2, 54_000, clock=clock) as progress:
        run_epoch(progress, clock, 1)
        run_epoch(progress, clock, 2)
    seen = terminal.getvalue()
    assert "…" not in seen
    for words in (
        "epoch 1/2 ",
        "epoch 2/2 ",
        "10/10",
        "2,700 images/s  ",
        " s left",
        "val 89.4%, best 89.4%",
        "best\x1b",
    ):
        assert words in seen, words
    assert "epoch 1/2  loss 0.344  val_loss 0.289  val_accuracy 89.43%  2,149 images/s" in seen


def test_a_bar_is_not_drawn_more_often_than_one_can_see(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_standard_error(monkeypatch)
    with images_progress(10_000, "features", clock=clock) as advance:
        for _ in range(1000):
            clock.now += 0.001
            advance(1)
    assert 8 <= terminal.getvalue().count("/10000") <= 13


def test_a_terminal_that_can_only_print_gets_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_standard_error(monkeypatch, "dumb")
    with EpochProgress(2, 1000, clock=clock) as progress:
        run_epoch(progress, clock, 1)
    assert "epoch 1/2  loss 0.3441" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_colours_asked_for_in_a_log_make_no_bar(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with EpochProgress(2, 1000, clock=clock) as progress:
        run_epoch(progress, clock, 1)
    assert "\x1b" not in capsys.readouterr().err


def test_images_are_counted_early_and_every_half_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with images_progress(50_000, "features", done=10_000, clock=clock) as advance:
        clock.now += 20  # the network is compiled
        for _ in range(40):
            advance(1000)
            clock.now += 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        "features  12,000 of 50,000 images  500 images/s  1 min left",
        "features  27,000 of 50,000 images  500 images/s  46 s left",
        "features  42,000 of 50,000 images  500 images/s  16 s left",
        "features  50,000 of 50,000 images  500 images/s",
    ]


def test_a_short_pass_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with images_progress(4000, "features", clock=clock) as advance:
        for _ in range(4):
            advance(1000)
            advance(0)
            clock.now += 1
    assert capsys.readouterr().err == ""


def test_a_pass_that_fails_has_no_last_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), images_progress(4000, "features", clock=clock) as advance:
        advance(1000)
        clock.now += 10
        advance(1000)
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "features  2,000 of 4,000 images  100 images/s  20 s left\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (40.2, "40 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (3599, "1 h"),
        (4800, "1 h 20 min"),
        (86_400, "24 h"),
    ],
)
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
