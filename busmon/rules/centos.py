"""CentOS's Pagure: what packit-service-centosmsg, a consumer of git.centos.org, passes on.

Packit retired that consumer in 2021; other teams may run it, or one like it. It looks at the
topic for `MQTT_SUBTOPICS`, reads the payload with json.loads(), and puts the topic into the
result. Nothing rejects a message before that: what cannot be read, and what is no object, raises
in the consumer, and ends it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from busmon.message import Judgement, Message, Outcome
from busmon.rules.base import HANDLED, RAISES, ignored
from busmon.settings.section import Section, Strings

OTHER_SUBTOPIC = ignored("other-subtopic")

# The consumer passes on any topic. These, which Packit's workers had a parser for, have their
# series from the start.
HOST = "git.centos.org/"
EVENTS = (
    "pull-request.new",
    "pull-request.reopened",
    "pull-request.updated",
    "pull-request.comment.added",
    "pull-request.comment.edited",
    "git.receive",
)


class CentosRules(Section):
    """`[rules.centos]`: the settings of the consumer on which its filter depends."""

    subtopics: Strings = ()  # its MQTT_SUBTOPICS; none: all messages


@dataclass(frozen=True, slots=True)
class CentosConsumer:
    """Judges as the consumer does that handles only these subtopics; all if there are none."""

    subtopics: tuple[str, ...]

    def judge(self, message: Message) -> Judgement:
        """Return the judgement. The topic comes first, whatever the payload is."""
        if message.rejected is not None:
            return message.rejected
        if not self._wants(message.topic):
            return OTHER_SUBTOPIC
        if message.unreadable is not None:
            return self.unreadable(message.unreadable)
        return HANDLED

    def _wants(self, topic: str) -> bool:
        after = topic.split("/", 1)[-1]  # of a topic without a slash, all of it
        return not self.subtopics or after.startswith(self.subtopics)

    def unreadable(self, why: Judgement) -> Judgement:
        """Return that the consumer raises, unless it is busmon that does not read the body."""
        return RAISES if why.outcome is Outcome.INVALID else why

    def known_series(self) -> Iterator[tuple[str, Judgement]]:
        """Yield the topics that have their series from the start."""
        for topic in (HOST + event for event in EVENTS):
            yield topic, HANDLED if self._wants(topic) else OTHER_SUBTOPIC

    def busiest(self) -> Iterator[str]:
        """Yield nothing: no topic of git.centos.org has to come every day."""
        return iter(())


def rule_set(settings: CentosRules) -> CentosConsumer:
    """Return the rule set of a consumer with these settings."""
    return CentosConsumer(settings.subtopics)
