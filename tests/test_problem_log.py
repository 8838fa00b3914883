"""The same problem is not logged again and again."""

import logging

import pytest

from busmon.problem_log import MAX_PROBLEMS, REPEAT_SECONDS, ProblemLog

log = logging.getLogger("busmon.test")


class Bench:
    """A log of problems, and what was written to it, at a time that the test sets."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 0.0
        self.problems = ProblemLog(log, lambda: self.now)
        self._caplog = caplog

    def logged(self) -> list[str]:
        """Return what was logged since the last call."""
        texts = [f"{one.levelname} {one.getMessage()}" for one in self._caplog.records]
        self._caplog.clear()
        return texts


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.INFO, log.name)
    return Bench(caplog)


def test_a_problem_is_logged_at_once_and_then_once_an_hour(bench: Bench) -> None:
    for _ in range(400):  # attempts, every 30 seconds
        bench.problems.problem("refused")
        bench.now += 30
    assert bench.logged() == ["WARNING refused"] * 4
    bench.problems.problem("another", level=logging.ERROR)
    assert bench.logged() == ["ERROR another"]


def test_two_problems_by_turns_are_each_logged_once_an_hour(bench: Bench) -> None:
    for _ in range(50):
        bench.problems.problem("the first broker refuses")
        bench.problems.problem("the second broker refuses")
    assert bench.logged() == [
        f"WARNING the {which} broker refuses" for which in ("first", "second")
    ]


def test_what_is_solved_is_logged_once_and_new_if_it_comes_back(bench: Bench) -> None:
    bench.problems.solved("receives again")
    assert bench.logged() == []
    bench.problems.problem("refused")
    bench.problems.solved("receives again")
    bench.problems.solved("receives again")
    bench.problems.problem("refused")
    assert bench.logged() == ["WARNING refused", "INFO receives again", "WARNING refused"]


def test_problems_that_change_with_each_attempt_have_a_limit(bench: Bench) -> None:
    for number in range(1000):
        bench.problems.problem(f"refused: attempt {number}")
    assert len(bench.logged()) == MAX_PROBLEMS
    bench.now += REPEAT_SECONDS
    bench.problems.problem("refused")
    assert bench.logged() == ["WARNING refused"]


def test_repetitions_are_in_the_log_of_the_level_debug(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, log.name)
    bench.problems.problem("refused")
    bench.problems.problem("refused")
    assert bench.logged() == ["WARNING refused", "DEBUG refused"]


def test_an_error_is_logged_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for value in ("a bug", "a bug", "another"):
        bench.problems.problem("%s: failed", "fedora", level=logging.ERROR, error=ValueError(value))
    assert "ValueError: a bug" in caplog.text
    assert bench.logged() == ["ERROR fedora: failed"] * 2


def test_a_text_without_values_may_have_percent_signs(bench: Bench) -> None:
    bench.problems.problem("100 %s of the disk are used")
    assert bench.logged() == ["WARNING 100 %s of the disk are used"]
