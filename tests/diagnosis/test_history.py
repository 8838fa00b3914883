"""What the verdict remembers of recent values."""

import pytest

from busmon.diagnosis.history import History


@pytest.mark.parametrize(
    ("moment", "value"), [(-1, None), (0, "a"), (4.9, "a"), (5, "b"), (8, "b"), (99, "c")]
)
def test_a_value_holds_until_the_next(moment: float, value: str | None) -> None:
    recent: History[str] = History(100)
    for at, new in [(0, "a"), (2, "a"), (5, "b"), (9, "c")]:
        recent.add(at, new)
    assert recent.at(moment) == value


def test_old_values_are_deleted_except_the_one_that_held_then() -> None:
    recent: History[int] = History(10)
    for at in range(0, 100, 4):
        recent.add(at, at)
    assert recent.oldest() == 84
    assert recent.at(83) is None
    assert recent.between(86, 96) == [84, 88, 92, 96]
    assert recent.between(80, 96) is None
    recent.add(50, 1)
    assert recent.oldest() == 1, "the clock was set back"
