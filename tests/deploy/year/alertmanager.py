"""A small model of Alertmanager: which notifications it sends of alerts that begin and end.

It knows routes, grouping, inhibition and resolving as Alertmanager 0.25 does them, with one
Alertmanager and without silences. `test_alertmanager.py` compares it with a real one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Labels = Mapping[str, str]
Key = frozenset[tuple[str, str]]
Matchers = tuple[tuple[str, str, str], ...]  # name, operator, value
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
MINUTES = {"ms": 1 / 60000, "s": 1 / 60, "m": 1, "h": 60, "d": 1440}
INHERITED = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")


@dataclass(frozen=True)
class Alert:
    """An alert that fires from `begin` to `end`, in minutes."""

    labels: Labels
    begin: float
    end: float


@dataclass(frozen=True)
class Notification:
    """What a receiver gets: the alerts that fire, and those that are resolved."""

    at: float  # minutes
    receiver: str
    group: Labels
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...] = ()

    @property
    def status(self) -> str:
        return "firing" if self.firing else "resolved"


def pages(notifications: Sequence[Notification]) -> Iterator[Notification]:
    """Yield what a pager shows as new or as resolved.

    It knows a group by its key: what joins a group that fires is no new page. A person closes a
    page whose alerts have ended unheard, since they are suppressed.
    """
    last: dict[tuple[str, Key], Notification] = {}
    for one in notifications:
        key = one.receiver, _key(one.group)
        before = last.get(key)
        if before is None or before.status != one.status or _ended(before, one):
            yield one
        last[key] = one


def _ended(before: Notification, now: Notification) -> bool:
    begins = [alert.begin for alert in now.firing]
    return bool(begins) and max(alert.end for alert in before.firing) < min(begins)


class Alertmanager:
    """Alertmanager with a configuration, as it is read from YAML."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._root = config["route"]
        self._webhooks = {
            receiver["name"]: receiver.get("webhook_configs", ())
            for receiver in config["receivers"]
        }
        self._rules = [
            _Inhibition(
                _matchers(rule["source_matchers"]),
                _matchers(rule["target_matchers"]),
                tuple(rule.get("equal", ())),
            )
            for rule in config.get("inhibit_rules", ())
        ]

    def notifications(self, alerts: Sequence[Alert]) -> list[Notification]:
        """Return all notifications about these alerts, in order."""
        groups: dict[tuple[str, Key], _Group] = {}
        for alert in sorted(alerts, key=lambda alert: alert.begin):
            route = _route(self._root, alert.labels)
            labels = {name: alert.labels.get(name, "") for name in route["group_by"]}
            group = {name: value for name, value in labels.items() if value}
            key = route["receiver"], _key(group)
            groups.setdefault(key, _Group(route, group)).alerts.append(alert)
        inhibitor = _Inhibitor(self._rules, alerts)
        found = [one for group in groups.values() for one in group.flushes(inhibitor)]
        return sorted((one for one in found if self._sends(one)), key=lambda one: one.at)

    def _sends(self, notification: Notification) -> bool:
        """Return whether the receiver has a webhook that wants this."""
        return any(
            notification.firing or webhook.get("send_resolved", True)
            for webhook in self._webhooks[notification.receiver]
        )


@dataclass(frozen=True)
class _Inhibition:
    source: Matchers
    target: Matchers
    equal: tuple[str, ...]


class _Inhibitor:
    def __init__(self, rules: Sequence[_Inhibition], alerts: Sequence[Alert]) -> None:
        self._rules = [
            (rule, [alert for alert in alerts if _matches(rule.source, alert.labels)])
            for rule in rules
        ]

    def mutes(self, alert: Alert, at: float) -> bool:
        """Return whether a source of a rule fires, and the alert is its target.

        In none of our rules an alert is both: Alertmanager would not suppress it then.
        """
        return any(
            source.begin <= at < source.end
            and all(source.labels.get(of, "") == alert.labels.get(of, "") for of in rule.equal)
            for rule, sources in self._rules
            if _matches(rule.target, alert.labels)
            for source in sources
        )


@dataclass
class _Group:
    """A group of alerts of one route, from its first alert until it is empty, and again."""

    route: Mapping[str, Any]
    labels: Labels
    alerts: list[Alert] = field(default_factory=list)

    def flushes(self, inhibitor: _Inhibitor) -> Iterator[Notification]:
        """Yield what is sent at each flush."""
        wait, interval, repeat = (
            _minutes(self.route[name])
            for name in ("group_wait", "group_interval", "repeat_interval")
        )
        coming = list(self.alerts)
        known: dict[Key, Alert] = {}  # until their end is flushed; what fires again is the same
        at, last = 0.0, _Last()
        while coming or known:
            if not known:
                at = coming[0].begin + wait
            known |= {_key(alert.labels): alert for alert in coming if alert.begin <= at}
            coming = [alert for alert in coming if alert.begin > at]
            heard = [alert for alert in known.values() if not inhibitor.mutes(alert, at)]
            firing = tuple(alert for alert in heard if at < alert.end)
            resolved = tuple(alert for alert in heard if at >= alert.end)
            if heard and last.differs(firing, resolved, at, repeat):
                yield Notification(at, self.route["receiver"], self.labels, firing, resolved)
                last = _Last(at, _names(firing), _names(resolved))
            known = {key: alert for key, alert in known.items() if at < alert.end}
            at += interval


@dataclass(frozen=True)
class _Last:
    """What was sent last."""

    at: float | None = None
    firing: frozenset[Key] = frozenset()
    resolved: frozenset[Key] = frozenset()

    def differs(
        self, firing: Sequence[Alert], resolved: Sequence[Alert], at: float, repeat: float
    ) -> bool:
        """Return whether there is anything to send."""
        if self.at is None:
            return bool(firing)
        if not _names(firing) <= self.firing:
            return True
        if not firing:
            return bool(self.firing)
        return not _names(resolved) <= self.resolved or self.at < at - repeat


def _key(labels: Labels) -> Key:
    return frozenset(labels.items())


def _names(alerts: Sequence[Alert]) -> frozenset[Key]:
    return frozenset(_key(alert.labels) for alert in alerts)


def _route(route: Mapping[str, Any], labels: Labels) -> Mapping[str, Any]:
    """Return the first route that matches, with what it inherits."""
    for child in route.get("routes", ()):
        if _matches(_matchers(child["matchers"]), labels):
            return _route(
                {name: route[name] for name in INHERITED if name in route} | child, labels
            )
    return route


def _matchers(texts: Sequence[str]) -> Matchers:
    found = []
    for text in texts:
        match = MATCHER.fullmatch(text)
        assert match, text
        found.append((match[1], match[2], match[3]))
    return tuple(found)


def _matches(matchers: Matchers, labels: Labels) -> bool:
    for name, operator, value in matchers:
        own = labels.get(name, "")
        equal = re.fullmatch(value, own) is not None if "~" in operator else own == value
        if equal == operator.startswith("!"):
            return False
    return True


def _minutes(duration: str) -> float:
    return sum(float(number) * MINUTES[unit] for number, unit in DURATION.findall(duration))
