"""The database of a ledger in PostgreSQL: its URL, and the parameters of libpq.

No error repeats a part of the URL: with a special character in the password, a part of it can
look like a host, a port or a parameter.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from busmon.settings.section import Row
from busmon.text import check_host, format_choice

DEFAULT_PORT = "5432"
SHAPE = (
    "should be postgresql://USER:PASSWORD@HOST[:PORT]/DATABASE, with special characters in their"
    " form %XX"
)
PART = r"(?:[^\s/?#@:,\[\]%]|%[0-9A-Fa-f]{2})"
HOST = rf"(\[[0-9A-Fa-f:.]+\]|{PART}+)(?::([0-9]+))?"
URL = re.compile(
    rf"postgres(?:ql)?://(?P<user>{PART}+)(?::(?P<password>{PART}*))?"
    rf"@(?P<hosts>(?:{HOST}(?:,{HOST})*)?)/(?P<database>{PART}+)(?:\?(?P<query>[^\s?#@]*))?"
)
TLS = {  # what is shown, by sslmode; the others of libpq could end without TLS unseen
    "verify-full": "TLS",
    "verify-ca": "TLS for any host name",
    "require": "TLS that is not verified",
    "disable": "no TLS",
}
VERIFIED = ("verify-full", "verify-ca")
# Those of libpq that busmon passes on.
PARAMETERS = ("channel_binding", "host", "require_auth", "sslmode", "target_session_attrs")
# libpq has an OpenSSL of its own, which does not know where the system's CAs are.
SYSTEM_CAS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a PostgreSQL server. As text it is a URL without user and password."""

    parameters: Mapping[str, str] = field(repr=False)  # of libpq; one can be the password

    def __str__(self) -> str:
        hosts = ",".join(_addresses(self.parameters))
        return f"postgresql://{hosts}/{self.parameters['dbname']}"

    def describe(self) -> Row:
        """Return the line of `busmon check-config` about it."""
        given = self.parameters
        socket = all(host.startswith("/") for host in given["host"].split(","))
        tls = "no TLS" if socket else TLS[given["sslmode"]]
        certificate = " with client certificate" if "sslcert" in given else ""
        password = "password" if "password" in given else "no password"
        return "database", f"{self}, {tls}{certificate}, user {given['user']}, {password}"


def _addresses(parameters: Mapping[str, str]) -> Iterator[str]:
    hosts, ports = (parameters[key].split(",") for key in ("host", "port"))
    for host, port in zip(hosts, ports, strict=True):
        yield f"[{host}]:{port}" if ":" in host else f"{quote(host, safe='')}:{port}"


def parse_url(url: str) -> dict[str, str]:
    """Return the parameters for libpq in a URL; ValueError if busmon cannot use it."""
    found = URL.fullmatch(url)
    if not found:
        raise ValueError(SHAPE)
    given = _parameters(found["query"] or "")
    hosts, ports = _hosts(found["hosts"], given.pop("host", None))
    parameters = {
        "user": unquote(found["user"]),
        "host": hosts,
        "port": ports,
        "dbname": unquote(found["database"]),
        "sslmode": "verify-full",
        **given,
    }
    if found["password"]:
        parameters["password"] = unquote(found["password"])
    if "," in hosts:  # servers of which one can be written to
        parameters.setdefault("target_session_attrs", "read-write")
    if any("\0" in value for value in parameters.values()):
        raise ValueError("should not contain a null character")
    return parameters


def _parameters(query: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in query.split("&") if part]
    given = {key: unquote(value) for key, _, value in pairs}
    if len(given) < len(pairs) or not given.keys() <= {*PARAMETERS}:
        raise ValueError(f"may have the parameters {', '.join(PARAMETERS)}, each once")
    if given.get("sslmode", "disable") not in TLS:
        raise ValueError(f"its sslmode should be {format_choice(list(TLS))}")
    return given


def _hosts(authority: str, directory: str | None) -> tuple[str, str]:
    """Return the hosts and their ports, each joined by commas, as libpq wants them."""
    if bool(authority) == bool(directory):
        raise ValueError("should have a host, or the parameter host with a socket's directory")
    if directory:
        if not directory.startswith("/") or "," in directory:
            raise ValueError("its parameter host should be an absolute path")
        return directory, DEFAULT_PORT
    hosts, ports = [], []
    for host, port in re.findall(HOST, authority):
        if port and not 0 < int(port) < 65536:
            raise ValueError("its port should be between 1 and 65535")
        hosts.append(unquote(host.strip("[]")))
        if not hosts[-1].startswith("/"):  # else it is a socket's directory
            check_host(hosts[-1])
        ports.append(port or DEFAULT_PORT)
    return ",".join(hosts), ",".join(ports)


def system_ca() -> str:
    """Return the file with the CAs that the system trusts."""
    paths = (ssl.get_default_verify_paths().cafile, *SYSTEM_CAS)
    return next((path for path in paths if path and Path(path).exists()), "system")
