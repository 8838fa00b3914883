"""The tables of the ledger, as SQLite reads them; `postgresql/schema.py` translates their types.

To change them, add a step to `sqlite/migrations.py`, and to `postgresql/migrations.py`.
"""

from collections.abc import Iterator

INDEXES_OF_VERSION_3 = (  # for what is deleted by its age
    "CREATE INDEX coverage_until ON coverage (until)",
    "CREATE INDEX blind_until ON blind_times (until)",
)
SHARES = "CREATE TABLE shares (kind TEXT PRIMARY KEY, bytes INTEGER NOT NULL)"
FOUND_QUEUES = """CREATE TABLE found_queues (   -- the listener's queues that were ever there
    bus INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (bus, name)
) WITHOUT ROWID"""
INDEX_OF_OTHER_TASKS = (
    "CREATE INDEX reports_other_task ON tap_reports (other_task) WHERE other_task IS NOT NULL"
)
INDEXES_OF_TASKS = (
    "CREATE INDEX tasks_root ON tasks (root)",
    "CREATE INDEX tasks_sent ON tasks (sent_at)",
    "CREATE INDEX tasks_finished ON tasks (finished_at)",
)
SERVICE_LEVELS = (
    """CREATE TABLE slo_totals (       -- messages that were judged by a service level
        bus TEXT NOT NULL, slo TEXT NOT NULL,
        within TEXT NOT NULL,           -- true, false or unknown
        messages INTEGER NOT NULL,
        PRIMARY KEY (bus, slo, within)
    ) WITHOUT ROWID""",
    """CREATE TABLE slo_progress (
        bus TEXT NOT NULL, slo TEXT NOT NULL,
        seq INTEGER NOT NULL,           -- of the last message that was judged, or left out
        PRIMARY KEY (bus, slo)
    ) WITHOUT ROWID""",
)

WINDOWS = """CREATE TABLE windows (            -- closed windows; no row: there was no message
    start INTEGER NOT NULL, until INTEGER NOT NULL, bus INTEGER NOT NULL,
    topic TEXT NOT NULL,                       -- empty if there is no data: for the whole bus
    stage TEXT NOT NULL,                       -- bus, listener, worker or handlers
    messages INTEGER,                          -- NULL: no data, not everything was observed
    missing INTEGER NOT NULL, unexpected INTEGER NOT NULL, recovered INTEGER NOT NULL,
    PRIMARY KEY (start, bus, topic, stage)
) WITHOUT ROWID"""
SILENCE_TABLES = (
    """CREATE TABLE clock (                       -- one row, none before the first pruning
    id INTEGER PRIMARY KEY CHECK (id = 1),
    floor INTEGER NOT NULL                     -- a time that has surely been reached
)""",
    """CREATE TABLE gone_topics (                 -- that have been silent for months
    bus INTEGER NOT NULL, topic TEXT NOT NULL,
    last INTEGER NOT NULL,                     -- when the newest message came
    PRIMARY KEY (bus, topic)
) WITHOUT ROWID""",
    """CREATE TABLE awaited_topics (              -- that have never come, although they have to
    bus INTEGER NOT NULL, topic TEXT NOT NULL,
    since INTEGER NOT NULL,                    -- when busmon began to watch for them
    PRIMARY KEY (bus, topic)
) WITHOUT ROWID""",
    """CREATE TABLE deficits (                    -- how many messages of a topic lacked on a day,
    bus INTEGER NOT NULL, topic TEXT NOT NULL, -- by Unix time / 86400
    day INTEGER NOT NULL, highest REAL,        -- NULL: it began with an alarm
    hour INTEGER NOT NULL, deficit REAL NOT NULL,  -- the last hour that is in it, and then
    PRIMARY KEY (bus, topic, day)
) WITHOUT ROWID""",
)
ARCHIVE_TABLES = (
    """CREATE TABLE archive_topics (          -- of which hours the sums of an archive are known:
    id INTEGER PRIMARY KEY, bus INTEGER NOT NULL, topic TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL,  -- by Unix time / 3600, without the last
    UNIQUE (bus, topic)
)""",
    """CREATE TABLE archive_sums (
    hour INTEGER NOT NULL, topic INTEGER NOT NULL, messages INTEGER NOT NULL,
    PRIMARY KEY (hour, topic)
) WITHOUT ROWID""",
    """CREATE TABLE archive_differences (     -- from the ledger, on the last day that was compared
    bus INTEGER NOT NULL, topic TEXT NOT NULL,
    day INTEGER NOT NULL,                      -- by Unix time / 86400
    ours INTEGER NOT NULL, archive INTEGER NOT NULL,  -- messages
    only_ours INTEGER NOT NULL, only_archive INTEGER NOT NULL,
    our_ids TEXT NOT NULL, archive_ids TEXT NOT NULL,  -- of the first of these; lines
    PRIMARY KEY (bus, topic)
) WITHOUT ROWID""",
)
INCIDENTS = (
    """CREATE TABLE incidents (                   -- when the verdict on a bus was not `none`
    id INTEGER PRIMARY KEY, bus TEXT NOT NULL, kind TEXT NOT NULL, began INTEGER NOT NULL,
    seen INTEGER NOT NULL,                     -- until then it is known to have lasted
    ended INTEGER,                             -- by then it was over; NULL: not known
    away INTEGER NOT NULL,                     -- ms of it in which busmon did not run
    first_evidence TEXT NOT NULL, last_evidence TEXT NOT NULL, -- lines
    UNIQUE (bus, kind, began)
)""",
    "CREATE INDEX incidents_seen ON incidents (seen)",
)

OPEN_MESSAGES = (
    """CREATE TABLE open_messages (           -- messages that a closed window left open at a stage
    bus INTEGER NOT NULL, id NOT NULL, stage TEXT NOT NULL, topic TEXT NOT NULL,
    start INTEGER NOT NULL, until INTEGER NOT NULL,  -- its window
    received_at INTEGER,                       -- by busmon
    state TEXT NOT NULL,                       -- running, unconfirmed or missing; then it is
                                               -- deleted, or recovered, accepted or expired
    due INTEGER,                               -- running: from when on it is missing
    estimated INTEGER NOT NULL DEFAULT 0,      -- 1: known to a minute only
    ended_at INTEGER, acceptance INTEGER,
    accepted_from TEXT,                        -- the state before a person accepted it
    PRIMARY KEY (id, bus, stage)
) WITHOUT ROWID""",
    # With the state, what is counted is read from the index alone.
    "CREATE INDEX open_missing ON open_messages (state, bus, stage, topic, start)"
    " WHERE state = 'missing'",
    "CREATE INDEX open_unconfirmed ON open_messages (state, start) WHERE state = 'unconfirmed'",
    "CREATE INDEX open_running ON open_messages (due) WHERE state = 'running'",
    "CREATE INDEX open_ended ON open_messages (ended_at)"
    " WHERE state IN ('recovered', 'accepted', 'expired')",
)

ACCEPTANCES = (
    """CREATE TABLE acceptances (             -- what people have accepted of the open messages
    id INTEGER PRIMARY KEY, accepted_at INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL,  -- of the beginnings of windows
    bus TEXT, topic TEXT, stage TEXT,          -- NULL: every one
    pending INTEGER NOT NULL DEFAULT 1,        -- 1: not all of it is accepted, or reopened, yet
    messages INTEGER NOT NULL DEFAULT 0,       -- that were missing
    unconfirmed INTEGER NOT NULL DEFAULT 0, windows INTEGER NOT NULL DEFAULT 0,
    reverted_at INTEGER, reverted_by TEXT
)""",
    "CREATE INDEX open_accepted ON open_messages (acceptance) WHERE acceptance IS NOT NULL",
)
SERIES_PARTS = (
    """CREATE TABLE series_parts (            -- which parts have messages of which series
    part INTEGER NOT NULL, series INTEGER NOT NULL,
    PRIMARY KEY (part, series)
) WITHOUT ROWID""",
    "CREATE INDEX parts_of_series ON series_parts (series, part)",
)
SUBJECTS = (
    """CREATE TABLE subjects (                -- sets of keys: what messages of a block are about
    seq INTEGER PRIMARY KEY,                   -- that of the first message with this set, or less
    keys TEXT NOT NULL                         -- lines
)""",
    """CREATE TABLE subject_keys (
    block INTEGER NOT NULL,                    -- of messages
    key INTEGER NOT NULL, subject INTEGER NOT NULL,  -- the key's checksum, the set's number
    PRIMARY KEY (block, key, subject)
) WITHOUT ROWID""",
)
SERIES = """CREATE TABLE series (              -- the counters
    id INTEGER PRIMARY KEY, bus INTEGER NOT NULL, topic TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0, last_received INTEGER, last_sent INTEGER,
    filled INTEGER NOT NULL DEFAULT 0,         -- 1: of messages that only the archive had,
                                               -- beside the counters; without hourly sums
    UNIQUE (bus, topic, outcome, reason, filled)
)"""
ARCHIVE_FILLS = """CREATE TABLE archive_fills (   -- blind times, and what the archive has of them
    bus INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    state TEXT NOT NULL,                       -- waiting, filled, partly or not
    reached INTEGER,                           -- read until then, by the times of sending
    messages INTEGER NOT NULL DEFAULT 0,       -- that only the archive had
    seen INTEGER NOT NULL DEFAULT 0,           -- that the archive had, of all topics
    holes INTEGER NOT NULL DEFAULT 0,          -- parts that it does not have completely
    PRIMARY KEY (bus, since)
) WITHOUT ROWID"""
TAPS = (
    """CREATE TABLE tap_processes (           -- of the listener: those that reported last
    bus INTEGER NOT NULL, tap TEXT NOT NULL,
    seq INTEGER NOT NULL,                      -- of its last batch
    ended INTEGER NOT NULL,                    -- 1: in order, and it has reported everything
    reported_at INTEGER NOT NULL,
    PRIMARY KEY (bus, tap)
) WITHOUT ROWID""",
    """CREATE TABLE tap_totals (              -- all reports ever
    bus INTEGER NOT NULL,
    state TEXT NOT NULL,                       -- passed, dropped or raised; lost or malformed
    reports INTEGER NOT NULL,
    PRIMARY KEY (bus, state)
) WITHOUT ROWID""",
)
NEW_IN_VERSION_5 = (
    *SILENCE_TABLES,
    *SERVICE_LEVELS,
    *INCIDENTS,
    *OPEN_MESSAGES,
    *ACCEPTANCES,
    *ARCHIVE_TABLES,
    *SERIES_PARTS,
    *SUBJECTS,
    ARCHIVE_FILLS,
    *TAPS,
)

# Times are Unix times in milliseconds. The names of the indexes are older than those of their
# tables: to rename an index would be to build it again.
SCHEMA = """
CREATE TABLE versions (                        -- by which busmon the ledger came to its version
    version INTEGER PRIMARY KEY, busmon TEXT NOT NULL
);
CREATE TABLE buses (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    queue TEXT,                                -- busmon's own, made once
    duplicates INTEGER NOT NULL DEFAULT 0,
    watched_until INTEGER,                     -- it is known to have been received until then
    blind INTEGER NOT NULL DEFAULT 0,          -- ms in all
    pruned INTEGER NOT NULL DEFAULT 0,         -- messages deleted from the record
    tap_reported INTEGER,                      -- when a tap reported last; NULL: never
    unknown_schemas INTEGER NOT NULL DEFAULT 0 -- messages that name a schema not installed
);
CREATE TABLE messages (                        -- in the order in which they were recorded
    seq INTEGER PRIMARY KEY, bus INTEGER NOT NULL, id NOT NULL,
    series INTEGER NOT NULL,
    received_at INTEGER NOT NULL,              -- of a filled message: when it was sent
    sent_at INTEGER,
    subject INTEGER                            -- its set of keys; NULL: none
);
CREATE UNIQUE INDEX seen_id ON messages (id, bus);
CREATE INDEX seen_at ON messages (received_at);
CREATE TABLE hourly_sums (                     -- by Unix time / 3600
    hour INTEGER NOT NULL, series INTEGER NOT NULL, messages INTEGER NOT NULL,
    PRIMARY KEY (hour, series)
) WITHOUT ROWID;
CREATE TABLE blind_times (                     -- when busmon did not receive from a bus
    bus INTEGER NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (bus, since)
) WITHOUT ROWID;
CREATE TABLE pauses (                          -- the longest of a topic that ended on a day,
    bus INTEGER NOT NULL, topic TEXT NOT NULL, -- by Unix time / 86400
    day INTEGER NOT NULL, expected REAL NOT NULL,  -- messages that should have come meanwhile
    PRIMARY KEY (bus, topic, day)
) WITHOUT ROWID;
CREATE TABLE coverage (                        -- when an observer (tap, ready, celery) watched,
                                               -- and when a listener ran: see `coverage.py`
    observer TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (observer, since)
) WITHOUT ROWID;
CREATE TABLE tap_reports (                     -- what the listener did, by its tap
    bus INTEGER NOT NULL, id NOT NULL, topic TEXT NOT NULL,
    state TEXT NOT NULL,                       -- passed, dropped or raised
    task TEXT, reported_at INTEGER NOT NULL,
    passed_at INTEGER,                         -- by the tap; NULL: it was not passed
    other_task TEXT,                           -- if it was passed on twice
    PRIMARY KEY (id, bus)
) WITHOUT ROWID;
CREATE INDEX reports_task ON tap_reports (task) WHERE task IS NOT NULL;
CREATE INDEX reports_at ON tap_reports (reported_at);
CREATE TABLE listener_counts (                 -- the counts of the listener's own monitor
    bus TEXT NOT NULL, state TEXT NOT NULL,
    last INTEGER NOT NULL,                     -- as it said, since its last start
    total INTEGER NOT NULL,                    -- over its restarts
    PRIMARY KEY (bus, state)
) WITHOUT ROWID;
CREATE TABLE tasks (                           -- what the workers did, by Celery's events
    id TEXT PRIMARY KEY, name TEXT NOT NULL,
    state TEXT NOT NULL,                       -- sent, received, started, retried, succeeded,
                                               -- failed, revoked or rejected
    received_at INTEGER, started_at INTEGER, finished_at INTEGER, retries INTEGER NOT NULL,
    root TEXT,                                 -- of its tree; its own id for the root
    parent TEXT,                               -- the task that sent it; NULL: the root did
    sent_at INTEGER                            -- if not known, when it was received
) WITHOUT ROWID;
CREATE TABLE audit_totals (                    -- all windows ever closed, added up
    bus INTEGER NOT NULL, topic TEXT NOT NULL, stage TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0,
    unexpected INTEGER NOT NULL DEFAULT 0, recovered INTEGER NOT NULL DEFAULT 0,
    no_data INTEGER NOT NULL DEFAULT 0,        -- windows, under an empty topic
    expired INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bus, topic, stage)
) WITHOUT ROWID;
CREATE TABLE audit_progress (                  -- one row, none before the first window begins
    id INTEGER PRIMARY KEY CHECK (id = 1),
    closed_until INTEGER NOT NULL              -- where the next window starts
);
"""


def statements() -> Iterator[str]:
    """Yield what makes the tables and indexes of a new ledger, but for `SHARES`."""
    yield from (SCHEMA, SERIES, FOUND_QUEUES, WINDOWS, *INDEXES_OF_VERSION_3)
    yield from (*INDEXES_OF_TASKS, INDEX_OF_OTHER_TASKS, *NEW_IN_VERSION_5)
