"""Who may read, and who may accept gaps: the credentials of `[web]`."""

from base64 import b64encode
from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from busmon.settings.models import Web
from busmon.web.http import Header, is_authorized
from busmon.web.refusals import Refused

BEARER = ("WWW-Authenticate", 'Bearer realm="busmon"')
BASIC = ("WWW-Authenticate", 'Basic realm="busmon", charset="UTF-8"')
NO_OPERATOR = "there is no operator: configure a login in [web.operators.NAME]"
CROSS_SITE = "refused, since a browser sends it for another site"
OWN_SITE = {"same-origin", "none"}  # Sec-Fetch-Site of a page of busmon's own, and of no page


class _Login(NamedTuple):
    """Credentials that let a request in."""

    scheme: str
    credentials: bytes
    challenge: Header


class Access:
    """Checks requests against the credentials of `[web]`."""

    def __init__(self, settings: Web) -> None:
        self._origins = _origins(settings.public_url)
        self._client_ca = settings.client_ca is not None
        self._readers = list(_readers(settings))
        self._operators = {
            name: _basic(name, operator.password.get_secret_value())
            for name, operator in settings.operators.items()
        }

    def read(self, environ: WSGIEnvironment) -> None:
        """Let a request in that only reads; raises Refused.

        Without any credentials to read, everybody may.
        """
        self._check_certificate(environ)
        logins = [*self._readers, *self._operators.values()]
        if self._readers and not _matches(environ, logins):
            raise _unauthorized(logins)

    def operator(self, environ: WSGIEnvironment) -> str:
        """Let an operator in, to see the form, and return the name; raises Refused.

        A reader gets a status with which a browser asks for another login.
        """
        self._check_certificate(environ)
        if not self._operators:
            raise Refused("no-operator", HTTPStatus.FORBIDDEN, NO_OPERATOR)
        for name, login in self._operators.items():
            if _matches(environ, [login]):
                return name
        raise _unauthorized([*self._operators.values()])

    def operate(self, environ: WSGIEnvironment) -> str:
        """Let an operator in, to change something, and return the name; raises Refused."""
        self._check_site(environ)
        if self._operators and _matches(environ, self._readers):
            raise Refused("read-only", HTTPStatus.FORBIDDEN, "these credentials only read")
        return self.operator(environ)

    def _check_certificate(self, environ: WSGIEnvironment) -> None:
        # Checked here and not in the handshake: a kubelet's probe has no certificate.
        if self._client_ca and environ.get("SSL_CLIENT_VERIFY") != "SUCCESS":
            raise Refused("certificate", HTTPStatus.FORBIDDEN, "a client certificate is required")

    def _check_site(self, environ: WSGIEnvironment) -> None:
        """Refuse what a page of another site makes a browser send, with the login it keeps."""
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site is not None and site not in OWN_SITE:
            raise Refused("cross-site", HTTPStatus.FORBIDDEN, CROSS_SITE)
        if origin is None or origin in self._origins:
            return
        if not _is_own(origin, environ.get("HTTP_HOST", "")):
            raise Refused("cross-site", HTTPStatus.FORBIDDEN, CROSS_SITE)


def _readers(settings: Web) -> Iterator[_Login]:
    if settings.token:
        yield _Login("bearer", settings.token.get_secret_value().encode(), BEARER)
    if settings.username is not None and settings.password:
        yield _basic(settings.username, settings.password.get_secret_value())


def _basic(username: str, password: str) -> _Login:
    return _Login("basic", b64encode(f"{username}:{password}".encode()), BASIC)


def _matches(environ: WSGIEnvironment, logins: list[_Login]) -> bool:
    return any(is_authorized(environ, login.scheme, login.credentials) for login in logins)


def _unauthorized(logins: list[_Login]) -> Refused:
    challenges = dict.fromkeys(login.challenge for login in logins)
    return Refused("login", HTTPStatus.UNAUTHORIZED, "", *challenges)


def _origins(public_url: str | None) -> set[str]:
    """Return the origin of busmon's pages behind a proxy, which may change the host.

    As a browser writes it: in lower case, without the usual port.
    """
    if not public_url:
        return set()
    parts = urlsplit(public_url.lower())
    host = parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")
    return {f"{parts.scheme}://{host}"}


def _is_own(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False
