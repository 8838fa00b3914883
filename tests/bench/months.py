"""A ledger in PostgreSQL with eight months of a busy bus, made in minutes by the database itself.

Every table that grows has rows: messages with their series, parts, hourly sums and keys, the
tap's reports and the tasks of what is handled, windows, and what they left open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from random import Random
from typing import Any

import psycopg

from busmon.demo.bodies import FEDORA_SHARES
from busmon.ledger.batch import Series
from busmon.ledger.ledger import Ledger
from busmon.ledger.parts import PART
from busmon.ledger.subjects import BLOCK, indexed
from busmon.rules import UNMAPPED, Rules, rule_set
from tests.support.ledgers import database_at

BUS = "fedora"
DAYS = 245
HANDLED_SHARE = 0.08  # of the messages of a topic with a filter
RECENT = 0.25  # of the messages; of those the audit has windows, reports and tasks
SLOTS = 10_000  # by which a message finds its series
MESSAGES_OF_A_SET = 10  # of keys; on Fedora's bus it is 3, and the keys alone would take 13 GB
PACKAGES = [f"package python-module{number}" for number in range(2000)]
PROJECTS = [f"project project-{number}" for number in range(500)]

# A message finds its series and its set of keys by its number.
MESSAGES = """
INSERT INTO messages (seq, bus, id, series, received_at, sent_at, subject)
SELECT n, 1, decode(md5(n::text), 'hex'),
    (%(slots)s::integer[])[1 + abs(hashint8(n)) %% %(number)s],
    %(since)s + (n * %(step)s)::bigint, %(since)s + (n * %(step)s)::bigint - 400,
    greatest(n - n %% %(of_a_set)s, n - n %% %(block)s)
FROM generate_series(1::bigint, %(rows)s) AS n
"""
HANDLED = """
messages JOIN series ON series.id = messages.series WHERE outcome = 'handled' AND seq > %(recent)s
"""
# Each tuple is done in order, beside the others.
TABLES = (
    {
        "series_parts": f"""
            SELECT part, series FROM generate_series(0, %(rows)s / {PART}) AS part,
            LATERAL (
                SELECT DISTINCT series FROM messages
                WHERE seq >= part * {PART} AND seq < (part + 1) * {PART}
            ) AS found"""
    },
    {
        "hourly_sums": "SELECT received_at / 3600000, series, count(*) FROM messages"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        "pauses": "SELECT DISTINCT 1, topic, hour / 24, 3.0 + abs(hashint8(hour / 24)) %% 4"
        " FROM hourly_sums JOIN series ON series.id = series",
    },
    {
        "tap_reports (bus, id, topic, state, task, reported_at, passed_at)": f"""
            SELECT messages.bus, messages.id, topic, 'passed', md5('t' || seq)::uuid::text,
                received_at + 900, received_at + 100
            FROM {HANDLED} AND seq %% 1000 <> 0 ORDER BY messages.id""",
        "tasks (id, name, state, received_at, started_at, finished_at, retries, root, parent,"
        " sent_at)": """
            SELECT CASE n WHEN 0 THEN task ELSE md5(task)::uuid::text END,
                CASE n WHEN 0 THEN 'task.process_message' ELSE 'task.a_handler' END,
                'succeeded', passed_at + 50 + n * 2000, passed_at + 100 + n * 2000,
                passed_at + 2000 + n * 9000, 0, task, CASE n WHEN 1 THEN task END,
                passed_at + n * 1900
            FROM tap_reports CROSS JOIN generate_series(0, 1) AS n ORDER BY 1""",
    },
    {
        "windows": f"""
            SELECT start, start + 300000, 1, topic, stage, messages, 0, 0, 0 FROM (
                SELECT received_at / 300000 * 300000 AS start, topic, count(*) AS messages
                FROM {HANDLED} GROUP BY 1, 2
            ) AS found
            CROSS JOIN (VALUES ('bus'), ('listener'), ('worker'), ('handlers')) AS of (stage)
            ORDER BY start, topic, stage""",
        "audit_totals (bus, topic, stage, messages)": """
            SELECT bus, topic, stage, sum(messages) FROM windows GROUP BY bus, topic, stage""",
        "audit_progress": "SELECT 1, max(until) FROM windows",
    },
    {
        "open_messages (bus, id, stage, topic, start, until, received_at, state, ended_at)": f"""
            SELECT messages.bus, messages.id, 'listener', topic, received_at / 300000 * 300000,
                received_at / 300000 * 300000 + 300000, received_at,
                CASE seq / 1000 %% 10 WHEN 0 THEN 'missing' WHEN 1 THEN 'unconfirmed'
                ELSE 'recovered' END,
                CASE WHEN seq / 1000 %% 10 > 1 THEN received_at + 3600000 END
            FROM {HANDLED} AND seq %% 1000 = 0 ORDER BY messages.id""",
        "coverage": """
            SELECT observer, %(since)s, %(until)s
            FROM unnest(ARRAY['tap:fedora', 'celery:fedora', 'listener:fedora']) AS observer""",
        "blind_times": """
            SELECT 1, %(since)s + n * 86400000, %(since)s + n * 86400000 + 60000
            FROM generate_series(1::bigint, 240) AS n""",
        "incidents (bus, kind, began, seen, ended, away, first_evidence, last_evidence)": """
            SELECT 'fedora', 'publisher', %(since)s + n * 43200000,
                %(since)s + n * 43200000 + 3600000, %(since)s + n * 43200000 + 3600000, 0,
                'a.topic: silent', 'a.topic: silent'
            FROM generate_series(1::bigint, 480) AS n""",
    },
)
COUNT = """
UPDATE series SET messages = known.messages, last_received = hour * 3600000 + 3599000,
    last_sent = hour * 3600000 + 3598000
FROM (SELECT series, sum(messages) AS messages, max(hour) AS hour FROM hourly_sums GROUP BY series)
    AS known WHERE known.series = series.id
"""
WATCHED = "UPDATE buses SET watched_until = %(until)s, tap_reported = %(until)s"
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'busmon'
AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'
AND tablename IN ('messages', 'tasks', 'tap_reports')
"""
SHARES = """
UPDATE shares SET bytes = pg_total_relation_size(kind::regclass)
WHERE to_regclass(kind) IS NOT NULL
"""
# Without the triggers that count the bytes of rows.
SESSION = """
SET search_path = busmon; SET session_replication_role = replica; SET jit = off;
SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'
"""

Database = psycopg.Connection[tuple[Any, ...]]


def fill(url: str, rows: int, until: float, say: Callable[[str], None]) -> None:
    """Make a ledger in an empty database, of which the user is a superuser.

    Its messages were received before the Unix time `until`.
    """
    with closing(Ledger(database_at(url))) as ledger:
        ledger.own_queue(BUS)
    since = int((until - DAYS * 86400) * 1000)
    with _connected(url) as db, ThreadPoolExecutor() as threads:
        values = {
            "slots": _slots(db),
            "number": SLOTS,
            "since": since,
            "until": int(until * 1000),
            "step": (until * 1000 - since) / (rows + 1),
            "of_a_set": MESSAGES_OF_A_SET,
            "block": BLOCK,
            "rows": rows,
            "recent": int(rows * (1 - RECENT)),
        }
        indexes = db.execute(INDEXES).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}".encode())
        db.execute(MESSAGES, values)
        say("  messages: filled")
        todo = [partial(_fill, url, tables, values, say) for tables in TABLES]
        todo += [partial(_execute, url, definition, say) for _, definition in indexes]
        for table, lines in (("subjects", _sets(rows)), ("subject_keys", _index(rows))):
            todo.append(partial(_copy, url, table, lines, say))
        for done in [threads.submit(one) for one in todo]:
            done.result()
        db.execute(COUNT)
        db.execute(WATCHED, values)
        db.execute(SHARES)
        db.execute("VACUUM (ANALYZE)")


def _connected(url: str) -> Database:
    db = psycopg.connect(url, autocommit=True)
    db.execute(SESSION)
    return db


def _fill(
    url: str, tables: Mapping[str, str], values: Mapping[str, Any], say: Callable[[str], None]
) -> None:
    with _connected(url) as db:
        for table, rows in tables.items():
            db.execute(f"INSERT INTO {table} {rows}".encode(), values)
            say(f"  {table.split()[0]}: filled")


def _execute(url: str, statement: str, say: Callable[[str], None]) -> None:
    with _connected(url) as db:
        db.execute(statement.encode())
        say(f"  {statement}")


def _copy(url: str, table: str, lines: Iterable[str], say: Callable[[str], None]) -> None:
    with _connected(url) as db, db.cursor() as cursor:
        with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copying:
            for text in lines:
                copying.write(text)
        say(f"  {table}: filled")


def _slots(db: Database) -> list[int]:
    """Make the series, and return their numbers, each as often as its share."""
    known: dict[str, list[tuple[str, str]]] = {}
    for topic, judgement in rule_set("packit", Rules()).known_series():
        known.setdefault(topic, []).append((judgement.outcome, judgement.reason))
    total, slots = sum(share.weight for share in FEDORA_SHARES), []
    for share in FEDORA_SHARES:
        series = known.get(share.topic, [(UNMAPPED.outcome, UNMAPPED.reason)])
        handled = HANDLED_SHARE if len(series) > 1 else 1.0
        parts = [handled, *[(1 - handled) / max(1, len(series) - 1)] * (len(series) - 1)]
        for labels, part in zip(series, parts, strict=True):
            row = Series(BUS, share.topic, *labels)
            found = db.execute(
                "INSERT INTO series (bus, topic, outcome, reason) VALUES (1, %s, %s, %s)"
                " RETURNING id",
                row[1:],
            ).fetchone()
            assert found
            slots += [found[0]] * max(1, round(SLOTS * share.weight / total * part))
    Random(1).shuffle(slots)
    return (slots * 2)[:SLOTS]


def _sets(rows: int) -> Iterator[str]:
    for block in range(rows // BLOCK + 1):
        yield "".join("{}\t{}\n".format(seq, "\\n".join(keys)) for seq, keys in _block(block, rows))


def _index(rows: int) -> Iterator[str]:
    for block in range(rows // BLOCK):
        found = sorted((indexed(key), seq) for seq, keys in _block(block, rows) for key in keys)
        yield "".join(f"{block}\t{key}\t{seq}\n" for key, seq in found)


def _block(block: int, rows: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the sets of a block: 3.5 keys in each."""
    first, end = block * BLOCK, min((block + 1) * BLOCK, rows + 1)
    rng = Random(block)
    for seq in (first, *range(first + 10 - first % 10, end, 10)):
        package, project = PACKAGES[rng.randrange(2000)], PROJECTS[rng.randrange(500)]
        keys = f"build {9_000_000 + seq}", package, project
        yield seq, (*keys, f"nvr {package[8:]}-2.{seq}-1.fc44") if seq % 20 else keys
