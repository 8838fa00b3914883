"""The sections that belong to no source, observer or rule set."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from busmon.settings.postgresql import VERIFIED, Database, parse_url, system_ca
from busmon.settings.section import (
    File,
    Section,
    checked,
    from_directory,
    matching,
    split,
    together,
)
from busmon.settings.units import SIZES, UNITS, Bytes, Seconds, at_least
from busmon.settings.urls import check_url
from busmon.text import parse_address

# What may be kept of a message beside its topic, so that people find it: see `rules/subjects.py`.
SubjectKind = Literal[
    "package", "project", "pull-request", "build", "task", "nvr", "tag", "commit", "owner"
]
SUBJECT_KINDS: tuple[SubjectKind, ...] = get_args(SubjectKind)

DATABASE_KEYS = ("password", "ca", "certificate", "key")  # of [ledger], if it is in PostgreSQL

OperatorName = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9._-]{0,63}",
        "the name of an operator has only a-z, 0-9, dots, _ and -, at most 64, and begins with a"
        " letter or digit",
    ),
]


def _url(text: str) -> None:
    check_url(text, "should be https://HOST[:PORT]/PATH")


class Operator(Section):
    """`[web.operators.NAME]`: the login of somebody who may accept gaps. It reads, too."""

    password: SecretStr


class Web(Section):
    """`[web]`: where /metrics and the health checks are served, and to whom."""

    listen: Annotated[str, checked(parse_address)] = "127.0.0.1:12876"
    certificate: File | None = None
    key: File | None = None
    client_ca: File | None = None
    token: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    operators: dict[OperatorName, Operator] = Field(default_factory=dict)
    public_url: Annotated[str, checked(_url)] | None = None  # of the pages, behind a proxy
    grafana_url: Annotated[str, checked(_url)] | None = None
    prometheus_url: Annotated[str, checked(_url)] | None = None

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from together(given, "certificate", "key")
        yield from together(given, "username", "password")
        if "client_ca" in given and not given.keys() & {"certificate", "key"}:
            yield "client_ca", "needs certificate and key too"


def _ledger_path(path: str, info: ValidationInfo) -> str:
    if "\0" in path:
        raise ValueError("should not contain a null character")
    return path if path == ":memory:" else str(from_directory(Path(path), info))


def _ledger_url(secret: SecretStr | None) -> SecretStr | None:
    """Check the URL. The error must not repeat it."""
    if secret:
        parse_url(secret.get_secret_value())
    return secret


class LedgerSettings(Section):
    """`[ledger]`: where the ledger is, how long it keeps messages, and how large it gets."""

    path: Annotated[str, Field(min_length=1), AfterValidator(_ledger_path)] = (
        "/var/lib/busmon/ledger.sqlite"
    )
    url: Annotated[SecretStr | None, AfterValidator(_ledger_url)] = None
    password: SecretStr | None = None
    ca: File | None = None
    certificate: File | None = None
    key: File | None = None
    # With less, busmon could forget messages that a broker still sends again.
    retention: Annotated[Seconds, at_least(1, "h")] = 7 * UNITS["d"]
    size_limit: Annotated[Bytes, at_least(16, "MiB")] = SIZES["GiB"]
    # People are not kept unasked.
    subjects: Annotated[tuple[SubjectKind, ...], split] = SUBJECT_KINDS[:-1]

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See Section."""
        yield from together(given, "certificate", "key")
        if "url" not in given:
            yield from ((key, "needs url too") for key in DATABASE_KEYS if key in given)
            return
        if "path" in given:
            yield "path", "should not be given together with url"
        try:
            parameters = parse_url(str(given["url"]))
        except ValueError:
            return  # which is reported by itself
        if "password" in given and "password" in parameters:
            yield "password", "should not be given together with a password in url"
        if "ca" in given and parameters["sslmode"] not in VERIFIED:
            yield "ca", f"needs sslmode={' or '.join(VERIFIED)} in url"

    def place(self) -> str | Database:
        """Return the file that has the ledger, or the PostgreSQL database."""
        if self.url is None:
            return self.path
        parameters = parse_url(self.url.get_secret_value())
        if parameters["sslmode"] in VERIFIED:
            parameters["sslrootcert"] = str(self.ca or system_ca())
        if self.certificate and self.key:
            parameters |= {"sslcert": str(self.certificate), "sslkey": str(self.key)}
        if self.password:
            parameters["password"] = self.password.get_secret_value()
        return Database(parameters)


class Limits(Section):
    """`[limits]`: the largest number of series."""

    unknown_topics: Annotated[int, Field(ge=0)] = 200


class Log(Section):
    """`[log]`: what is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
