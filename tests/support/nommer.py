"""Runs in Datagrepper's virtual environment: `python nommer.py DATABASE [--timescaledb]`.

It makes datanommer's tables, in a plain PostgreSQL with stand-ins. Then it stores what it reads:
each line is a JSON array of messages [id, topic, body, sent-at], and is answered by a line when
they are stored.
"""

import json
import sys

import datanommer.models as dm
from datanommer.models.view import create_view
from fedora_messaging.message import Message
from sqlalchemy import create_engine, text

# What datanommer uses of TimescaleDB: to split a table by time, and to estimate its rows.
STAND_INS = """
CREATE FUNCTION create_hypertable(regclass, name) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION approximate_row_count(regclass) RETURNS bigint LANGUAGE sql
    AS 'SELECT 0::bigint';
"""


def main() -> None:
    if "--timescaledb" in sys.argv:
        dm.init(sys.argv[1], create=True)
    else:
        init_with_stand_ins(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        for identity, topic, body, sent_at in json.loads(line):
            message = Message(topic=topic, body=body)
            message.id = identity
            # A new message was sent now, and nothing else sets the time of one.
            message._properties.headers["sent-at"] = sent_at  # noqa: SLF001 - see above
            dm.add(message)
        dm.session.commit()
        print("stored", flush=True)


def init_with_stand_ins(database: str) -> None:
    engine = create_engine(database, future=True)
    with engine.begin() as connection:
        connection.execute(text(STAND_INS))
        dm.DeclarativeBase.metadata.create_all(connection)
        create_view(connection)
    dm.init(engine=engine)


main()
