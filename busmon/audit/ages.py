"""How old the open gaps are, as a partition of their messages."""

from collections.abc import Mapping
from itertools import pairwise

from busmon.ledger.tables import Tables
from busmon.message import Stage
from busmon.settings.units import UNITS

# An age is below the one that its name says, and not below the one before.
AGES = {"1h": UNITS["h"], "6h": 6 * UNITS["h"], "1d": UNITS["d"], "1w": UNITS["w"]}
OLDER = "older"


def open_by_age(tables: Tables, now: float) -> dict[tuple[str, Stage], Mapping[str, int]]:
    """Return the messages of open gaps by bus and stage, and by the age of their window."""
    names = *AGES, OLDER
    return {
        place: {
            name: more - less
            for name, (less, more) in zip(names, pairwise((0, *younger)), strict=True)
        }
        for place, younger in tables.gaps.begun_after([now - age for age in AGES.values()]).items()
    }
