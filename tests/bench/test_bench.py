"""The benchmarks run and report correctly. Speed is for `make bench`."""

import json
from pathlib import Path

import pytest

from tests.bench import Options, amqp
from tests.bench.__main__ import BENCHMARKS
from tests.bench.measure import Run, Spread, Table, compared, interleaved
from tests.support.brokers.rabbitmq import RabbitMQ


def run(seconds: float) -> Run:
    return Run(messages=1000, seconds=seconds, cpu=0.08, peak=50 << 20)


def test_every_consumer_of_the_amqp_benchmark_takes_every_message(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    said: list[str] = []
    options = Options(directory=tmp_path, scale=0.005, rounds=1, say=said.append)
    table = amqp.compare(rabbitmq, options)
    assert [row[:2] for row in table.rows][:5] == [
        ["busmon", 250],
        ["busmon, TLS", 250],
        ["`fedora-messaging consume`", 50],
        ["the same, prefetch 1,000", 50],
        ["bare pika", 250],
    ]
    assert len(said) == 6, said  # a line for each, or why there is no C


@pytest.mark.parametrize("name", sorted(BENCHMARKS.keys() - {"amqp"}))
def test_a_benchmark_runs_at_a_tiny_scale(name: str, tmp_path: Path) -> None:
    tables = BENCHMARKS[name](
        Options(directory=tmp_path, scale=0.002, rounds=1, say=lambda _text: None)
    )
    assert all(table.rows and table.markdown() for table in tables)


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str) -> Run:
        order.append(name)
        return run(1)

    interleaved({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, 2, lambda _: None)
    assert order == ["a", "b", "a", "b"]


def test_contestants_are_compared_round_by_round() -> None:
    """The second round is slow for both, and changes nothing in how they compare."""
    runs = {"busmon": [run(1), run(10), run(2)], "other": [run(0.5), run(5), run(1)]}
    table = compared("AMQP", runs, "busmon", ["Aim: none."])
    assert table.rows == [
        [
            "busmon",
            1000,
            Spread(500, 100, 1000),
            Spread(80, 80, 80),
            Spread(50, 50, 50),
            Spread(1, 1, 1),
        ],
        [
            "other",
            1000,
            Spread(1000, 200, 2000),
            Spread(80, 80, 80),
            Spread(50, 50, 50),
            Spread(0.5, 0.5, 0.5),
        ],
    ]


def test_a_table_is_written_as_markdown_and_as_json() -> None:
    table = Table(
        title="Ledger",
        columns=["rows", "bytes", "stall"],
        rows=[["a million", 1_234_567, Spread(0.01234, 0.01, 2)]],
        notes=["Aim: none."],
    )
    assert table.markdown().splitlines() == [
        "### Ledger",
        "",
        "| rows | bytes | stall |",
        "| --- | ---: | ---: |",
        "| a million | 1,234,567 | 0.0123 (0.01 to 2) |",
        "",
        "- Aim: none.",
    ]
    assert json.loads(json.dumps(table.json())) == {
        "title": "Ledger",
        "rows": [
            {
                "rows": "a million",
                "bytes": 1_234_567,
                "stall": {"median": 0.01234, "minimum": 0.01, "maximum": 2},
            }
        ],
        "notes": ["Aim: none."],
    }
