"""The JSON schemas of a message class, with bounded work.

A schema can ask for much work: to compare each item of a list with each other one, or to write
an error for each item. A publisher decides how many items there are.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from typing import Any

import fastjsonschema
from fedora_messaging.message import Message
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for

from busmon.sources.codec import TooCostly

MAX_STEPS = 20_000  # to check a message; they take at most 0.3 s
ITEMS_PER_STEP = 100  # of those that a keyword looks at quickly
SEARCHES_PER_STEP = 20  # of a pattern in a key
COMPARISONS_PER_STEP = 5
CONTAINERS = {list, dict}

Keyword = Callable[[Validator, Any, Any, dict[str, Any]], Iterator[ValidationError] | None]

# Nearly all headers are valid. jsonschema takes twenty times as long to find that.
_quick: Callable[[Any], Any] = fastjsonschema.compile(Message.headers_schema)


class FedoraSchema:
    """A message class and its validators, each built where get_message() first needs it."""

    def __init__(self, of: type[Message]) -> None:
        self.of = of
        schemas = (of.headers_schema, of.body_schema)
        self.plain = of.validate is Message.validate and all(isinstance(s, dict) for s in schemas)

    def accepts_headers(self, headers: dict[str, Any]) -> bool:
        """Return whether all schemas of headers accept them; raises TooCostly."""
        return all(_is_valid(headers, validator) for validator in self._headers)

    def accepts_body(self, body: Any) -> bool:
        """Return whether all schemas of a body accept it; raises TooCostly."""
        # The base schema only asks for an object. jsonschema would write the whole body into its
        # error.
        own = all(_is_valid(body, validator) for validator in self._body)
        return own and isinstance(body, dict)

    @cached_property
    def _headers(self) -> list[Validator]:
        own, base = self.of.headers_schema, Message.headers_schema
        return [_validator(own)] if own is base else [_validator(own), _validator(base)]

    @cached_property
    def _body(self) -> list[Validator]:
        own = self.of.body_schema
        return [] if own is Message.body_schema else [_validator(own)]


@cache  # of the classes that are installed, never of a publisher's names
def schema_of(of: type[Message]) -> FedoraSchema:
    """Return the schemas of a message class."""
    return FedoraSchema(of)


def _validator(schema: dict[str, Any]) -> Validator:
    found = validator_for(schema)
    found.check_schema(schema)
    return _bounded(found)(schema)


def _is_valid(instance: Any, validator: Validator) -> bool:
    if validator.schema is Message.headers_schema:
        with suppress(Exception):
            _quick(instance)
            return True
    _work.left = MAX_STEPS
    # get_message() looks for the best of all errors, and may stumble over one on the way.
    return best_match(validator.iter_errors(instance)) is None


class _Work(threading.local):
    """How much is left for the message that this thread checks."""

    left = 0  # steps


_work = _Work()


@cache
def _bounded(validators: type[Validator]) -> type[Validator]:
    """Return the class of validators with a bound on their work."""
    keywords = {name: _counted(name, check) for name, check in validators.VALIDATORS.items()}
    found: type[Validator] = extend(validators, keywords)  # type: ignore[no-untyped-call]  # jsonschema's
    return found


def _counted(name: str, check: Keyword) -> Keyword:
    def counted(
        validator: Validator, wanted: Any, instance: Any, schema: dict[str, Any]
    ) -> Iterator[ValidationError] | None:
        if type(instance) in CONTAINERS:
            _work.left -= _steps(name, wanted, instance)
        else:
            _work.left -= 1
        if _work.left < 0:
            raise TooCostly
        return check(validator, wanted, instance, schema)

    return counted


def _steps(keyword: str, wanted: Any, instance: list[Any] | dict[str, Any]) -> int:
    items = len(instance)
    if keyword == "patternProperties":
        return 1 + items * len(wanted) // SEARCHES_PER_STEP
    if keyword == "additionalProperties":  # searches for all patterns at once
        return 1 + items // SEARCHES_PER_STEP
    if keyword == "uniqueItems" and not all(isinstance(item, str) for item in instance):
        return 1 + items**2 // COMPARISONS_PER_STEP  # texts are sorted before
    return 1 + items // ITEMS_PER_STEP
