"""The SQL is what SQLite 3.34 (UBI 9) and other databases understand, too."""

import re
from pathlib import Path

import pytest

from busmon import ledger

NOT_PORTABLE = {
    "INSERT OR …: name the conflict's columns": r"\bINSERT OR\b|\bREPLACE INTO\b",
    "ON CONFLICT without its columns": r"ON CONFLICT(?! \()",
    "RETURNING and STRICT: SQLite 3.35 and 3.37": r"\bRETURNING\b|\bSTRICT\b",
    "the last row's id": r"\blastrowid\b|\blast_insert_rowid\b",
    "max and min of two values": r"\b(SELECT|SET|WHERE|AND|THEN)\b.*\b(max|min)\([^()]*,",
    "a parameter of no type: CAST it": r"(?<!AS )[?] IS (NOT )?NULL|:\w+ IS (NOT )?NULL",
    "IN with a list that can be empty: use `places`": r'"[?]" [*](?!.*or "NULL")',
    "IS with a value": r"\bIS (NOT )?(?!NOT|NULL)['?:]",
    "HAVING without GROUP BY: SQLite 3.39": r"^(?!.*GROUP BY).*\bHAVING\b",
}


@pytest.mark.parametrize("what", NOT_PORTABLE)
def test_sql_is_portable(what: str) -> None:
    found = [
        f"{file.name}:{number}: {line.strip()}"
        for file in Path(ledger.__file__).parent.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if re.search(NOT_PORTABLE[what], line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("INSERT OR …: name the conflict's columns", "INSERT OR IGNORE INTO t VALUES (1)"),
        ("ON CONFLICT without its columns", "ON CONFLICT DO NOTHING"),
        ("RETURNING and STRICT: SQLite 3.35 and 3.37", "DELETE FROM t RETURNING id"),
        ("the last row's id", "db.execute(query).lastrowid"),
        ("max and min of two values", "SELECT max(a, b) FROM t"),
        ("a parameter of no type: CAST it", "WHERE :bus IS NULL OR bus = :bus"),
        ("IN with a list that can be empty: use `places`", '", ".join("?" * len(numbers))'),
        ("IS with a value", "WHERE state IS NOT 'passed'"),
        ("HAVING without GROUP BY: SQLite 3.39", "SELECT max(a) FROM t HAVING max(a) > 1"),
    ],
)
def test_each_search_finds_what_it_is_for(what: str, line: str) -> None:
    assert re.search(NOT_PORTABLE[what], line)
