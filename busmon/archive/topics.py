"""Which topics to learn from the archive."""

import time
from collections.abc import Mapping
from urllib.parse import quote

from busmon.ledger.ledger import Ledger
from busmon.pipeline import OTHER
from busmon.rules import RuleSet
from busmon.silence.state import setting_reached

MAX_BYTES = 2000  # of a name in a URL; Datagrepper's server refuses a request line of 4 kB


def topics_to_learn(
    bus: str, rules: RuleSet, ledger: Ledger, retired: Mapping[str, float]
) -> list[str]:
    """Return the topics that the rules know, or of which a message came, unless they are retired.

    A publisher can choose a name that no archive can be asked for; that one is left out.
    """
    known = {topic for topic, _ in rules.known_series()}
    known |= {series.topic for series in ledger.counts() if series.bus == bus}
    return sorted(
        topic
        for topic in known - {OTHER}
        if topic.isprintable()
        and len(quote(topic)) <= MAX_BYTES
        and not setting_reached(retired, topic, time.time())
    )
