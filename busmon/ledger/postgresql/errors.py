"""What PostgreSQL's errors say, in one line, and what to do."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import Error

# By SQLSTATE, which the server sends once it has let busmon in.
READ_ONLY = "25006"
STANDBY = "is it a standby? url in [ledger] can name several servers, HOST,HOST"
REMOVED = "the ledger was removed; restore a backup, or restart busmon to begin a new one"
HINTS = {
    "3F000": REMOVED,
    "42501": "busmon's user must own the schema busmon, or be allowed to create it",
    "42P01": REMOVED,
    "53100": "is the disk of the server full?",
    "53300": "each busmon takes up to 5 connections; raise the limit of the server, or end others",
    "55P03": "another busmon, or another program, keeps the ledger locked",
    "57014": "the server is too slow, or another program keeps a part of the ledger locked",
    "XX001": "the database is damaged; restore a backup",
    "XX002": "an index is damaged: REINDEX DATABASE repairs it",
}
HUNG = "is the network cut, or does the server hang?"
# By a part of the text: before a login is complete, libpq gives nothing else.
CONNECTING = {
    "password authentication failed": "check user and password in [ledger]",
    "no password supplied": "set password in [ledger]",
    "no pg_hba.conf entry": "allow busmon's user in the server's pg_hba.conf",
    "certificate verify failed": "ca in [ledger] must be the CA of the server's certificate",
    "does not match host name": "url in [ledger] must have a name that is in the certificate",
    "server does not support SSL": "if you trust the network, add ?sslmode=disable to url in"
    " [ledger]",
    "requires a valid client certificate": "set certificate and key in [ledger]",
    "connection timeout expired": HUNG,
    "no answer for": HUNG,
    "session is read-only": STANDBY,
    "too many connections": HINTS["53300"],
    "too many clients": HINTS["53300"],
    "remaining connection slots": HINTS["53300"],
}
DATABASE = re.compile(r'database "[^"]*" does not exist')
NO_DATABASE = "create it: CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0"

# Why a connection fails that nobody has to correct in busmon. TLS has words of its own for one that
# ends, and so has psycopg for one that was complete. The last four are said of a standby that may
# take over, by a server that starts or ends, and by a PgBouncer without its server.
PASSING = re.compile(
    "Connection refused|Connection reset|closed the connection|connection timeout expired"
    "|timed out|No route to host|Network is unreachable|Temporary failure in name resolution"
    "|no answer for|too many connections|too many clients|remaining connection slots"
    "|could not fork|out of memory|Broken pipe|unexpected eof|EOF detected|closed unexpectedly"
    "|consuming input failed|sending query|connection is (?:closed|lost)"
    "|session is read-only|the database system is|terminating connection"
    "|server login has been failing"
)

# The same of a connection that was complete: the server ends, was killed, starts, has ended a
# session that was idle while this process was paused, is full, has no room or memory, is a
# standby, or another program keeps a table locked.
PASSING_STATES = {"57P01", "57P02", "57P03", "57P05", "25P03", "53100", "53200", "53300"}
PASSING_STATES |= {READ_ONLY, "55P03"}

SERVER = re.compile(
    r'connection (?:failed|is bad): connection to server (?:at "(?P<host>[^"]*)"(?: \([^)]*\))?,'
    r' port (?P<port>[0-9]+)|on socket "(?P<socket>[^"]*)") failed: (?:FATAL:\s+)?'
)
NOISE = re.compile(r"\[Errno -?[0-9]+\] |fe_sendauth: ")
ALL_FAILED = "Multiple connection attempts failed. All failures were:\n"


def explain(error: "Error") -> str:
    """Return what an error says, and what to do. It has no values of rows and no password."""
    if error.sqlstate == READ_ONLY:  # each statement has another text
        return f"the database can only be read; {STANDBY}"
    if error.sqlstate:
        text = (error.diag.message_primary or str(error)).strip()
        return _with_hint(text, HINTS.get(error.sqlstate))
    text = str(error)
    if ALL_FAILED in text:  # one for each of several servers
        _, _, each = text.partition(ALL_FAILED)
        servers = re.split(r"(?m)^- host: .*?, port: .*?, hostaddr: [^:]*: ", each)
        return "; ".join(_of_server(one) for one in servers if one)
    return _of_server(text)


def may_pass(error: "Error") -> bool:
    """Return whether a connection failed for a reason that can be over soon."""
    if error.sqlstate:
        return error.sqlstate in PASSING_STATES
    return bool(PASSING.search(str(error)))


def _of_server(text: str) -> str:
    """Return why one server cannot be used, with its address."""
    shown = NOISE.sub("", SERVER.sub(_address, text.strip()).splitlines()[0])
    hints = (hint for part, hint in CONNECTING.items() if part in shown)
    return _with_hint(shown, NO_DATABASE if DATABASE.search(shown) else next(hints, None))


def _address(found: re.Match[str]) -> str:
    address = found["socket"] or f"{found['host']}:{found['port']}"
    return f"{address}: "


def _with_hint(text: str, hint: str | None) -> str:
    return f"{text}; {hint}" if hint else text
