import pytest

from benchmarks.processes import measure


@pytest.mark.timeout(60)
def test_a_chatty_process_is_measured() -> None:
    """More errors than a pipe holds, before the result."""
    chatty = "import sys; sys.stderr.write('x' * 1_000_000); print('text'); print('{\"n\": 3}')"
    measured = measure("-c", chatty)
    assert measured["n"] == 3
    assert measured["wall_seconds"] > 0
    assert measured["peak_megabytes"] > 1


def test_a_failed_process_ends_the_benchmark_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match=r"failed:\n(.|\n)*no such thing"):
        measure("-c", "raise ValueError('no such thing')")
