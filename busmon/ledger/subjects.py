"""What messages are about: the keys of each, and an index that finds messages by a key.

Many messages have the same keys: a build begins and ends in every chroot. So a set of keys is
stored once for all messages of a block. The index has a part for each block, and a search goes
from block to block, the newest first. A block gets its part when it is complete: then that is
written in the order of the index, at its end, which takes little time. The sets of the newest
block are read one by one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from zlib import crc32

from busmon.ledger.connection import Connection, places

BLOCK = 4096  # messages
MAX_KEYS = 8  # of a message
FIRST_BLOCKS = 32  # that are looked at; then twice as many, and so on


def block_of(seq: int) -> int:
    """Return the block of a message."""
    return seq // BLOCK


def end_of(block: int) -> int:
    """Return the last number of a block, 0 without any block."""
    return max((block + 1) * BLOCK - 1, 0)


def indexed(key: str) -> int:
    """Return the form of a key in the index. Others can have the same: compare the text, too."""
    return crc32(key.encode()) - 2**31


class Subjects:
    """The sets of keys."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def last(self) -> int:
        """Return a number that no set, and no block with an index, is beyond; 0 without any."""
        return max(self._last(), end_of(self._indexed()))

    def add(self, sets: Mapping[int, str], last: int) -> None:
        """Store sets of keys, one key a line, by number; they are newer than the `last` one."""
        if not sets:
            return
        self._db.executemany("INSERT INTO subjects (seq, keys) VALUES (?, ?)", sets.items())
        if (newest := block_of(max(sets))) > block_of(last):
            self._index(newest)

    def find(self, block: int, words: Sequence[Iterable[str]]) -> list[int]:
        """Return the numbers of the sets of a block that have, of each word, one of its keys."""
        return [seq for seq, _ in self._find(block, words)]

    def _find(self, block: int, words: Sequence[Iterable[str]]) -> list[tuple[int, list[str]]]:
        """Return the same with the keys of each set."""
        keys = [set(word) for word in words]
        conditions, values = ["seq >= ?", "seq < ?"], [block * BLOCK, (block + 1) * BLOCK]
        if block <= self._indexed():
            for word in keys:
                conditions.append(
                    "seq IN (SELECT subject FROM subject_keys WHERE block = ?"  # noqa: S608 - question marks
                    f" AND key IN ({places(word)}))"
                )
                values += [block, *map(indexed, word)]
        rows = self._db.execute(
            f"SELECT seq, keys FROM subjects WHERE {' AND '.join(conditions)} ORDER BY seq",  # noqa: S608 - question marks
            values,
        )
        sets = ((seq, text.split("\n")) for seq, text in rows)
        return [(seq, one) for seq, one in sets if not any(w.isdisjoint(one) for w in keys)]

    def first(self) -> int | None:
        """Return a number that no set is before; None without any."""
        found: int | None = self._db.execute("SELECT min(seq) FROM subjects").fetchone()[0]
        return found

    def blocks(self, first: int, end: int, words: Sequence[Iterable[str]]) -> Iterator[int]:
        """Yield the blocks of messages `first` to `end` that can have such sets, the newest first.

        It reads few at once, and takes some microseconds a block.
        """
        keys = [[indexed(key) for key in set(word)] for word in words]
        conditions = " AND ".join(
            "EXISTS (SELECT 1 FROM subject_keys WHERE subject_keys.block = blocks.block"  # noqa: S608 - question marks
            f" AND key IN ({places(word)}))"
            for word in keys
        )
        query = (
            "WITH RECURSIVE blocks (block) AS"  # noqa: S608 - question marks
            " (SELECT ? UNION ALL SELECT block - 1 FROM blocks WHERE block > ?)"
            f" SELECT block FROM blocks WHERE block > ? OR {conditions}"
        )
        values = self._indexed(), *(key for word in keys for key in word)
        last, lowest = min(block_of(self._last()), block_of(end - 1)), block_of(first)
        number = FIRST_BLOCKS
        while first < end and last >= lowest:
            until = max(lowest, last - number + 1)
            yield from (block for (block,) in self._db.execute(query, (last, until, *values)))
            last, number = until - 1, 2 * number

    def prune(self, before: int, limit: int) -> None:
        """Delete sets that no message from `before` on has, at most as many as `limit` messages.

        The oldest go first.
        """
        until = block_of(before)
        for table, key, condition, rows in (
            ("subjects", "seq", "seq < :first", limit),
            ("subject_keys", "block, key, subject", "block < :until", limit * MAX_KEYS),
        ):
            self._db.execute(
                f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table}"  # noqa: S608 - our own names
                f" WHERE {condition} ORDER BY {key} LIMIT :limit)",
                {"until": until, "first": until * BLOCK, "limit": rows},
            )

    def forget(self, key: str, block: int) -> int:
        """Delete a key from all sets of a block that have it; return from how many."""
        found = self._find(block, [[key]])
        self._db.executemany(
            "UPDATE subjects SET keys = ? WHERE seq = ?",
            [("\n".join(one for one in keys if one != key), seq) for seq, keys in found],
        )
        self._db.executemany(
            "DELETE FROM subject_keys WHERE block = ? AND key = ? AND subject = ?",
            [(block, indexed(key), seq) for seq, _ in found],
        )
        return len(found)

    def _last(self) -> int:
        (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM subjects").fetchone()
        return int(last)

    def _indexed(self) -> int:
        """Return the newest block in the index; -1 without any."""
        query = "SELECT coalesce(max(block), -1) FROM subject_keys"
        (newest,) = self._db.execute(query).fetchone()
        return int(newest)

    def _index(self, end: int) -> None:
        """Write the part of the index for each block before `end` that has none yet."""
        sets = self._db.execute(
            "SELECT seq, keys FROM subjects WHERE seq >= ? AND seq < ?",
            ((self._indexed() + 1) * BLOCK, end * BLOCK),
        )
        self._db.executemany(
            "INSERT INTO subject_keys (block, key, subject) VALUES (?, ?, ?)"
            " ON CONFLICT (block, key, subject) DO NOTHING",
            sorted(
                (block_of(seq), indexed(key), seq)
                for seq, keys in sets
                for key in keys.split("\n")
                if key
            ),
        )
