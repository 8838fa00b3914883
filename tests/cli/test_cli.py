"""The commands as users run them: `busmon …`, its output, its messages and its exit status."""

import gzip
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.samples import CENTOS, CENTOS_FILE, FEDORA, FEDORA_FILE
from tests.support.brokers import Server, accepts, free_port, wait_until
from tests.support.command import busmon

SCRIPT = Path(sys.executable).with_name("busmon")
COMMANDS = ("run", "check-config", "explain", "replay", "demo", "lint", "gaps", "trace", "status")
SECRET = "tr0ub4dor"
OUTCOMES = {"handled", "ignored", "unmapped", "invalid", "error"}
CENTOS_OUTCOMES = {"handled", "unmapped", "invalid"}  # its filter is its list of topics

FEDORA_TOML = f"""
amqp_url = "amqp://listener:{SECRET}@localhost"
[[bindings]]
exchange = "amq.topic"
routing_keys = ["#"]
"""
CONFIGURATION = f"""
[ledger]
path = "ledger.sqlite"
[rules.packit]
user = "alice"
[limits]
unknown_topics = 0
[buses.koji]
type = "amqp"
rules = "packit"
config = "fedora.toml"
[buses.git]
type = "mqtt"
rules = "all"
url = "mqtt://localhost"
client_id = "busmon"
topics = ["git.centos.org/#"]
username = "busmon"
password = "{SECRET}"
"""

Row = tuple[str, str, str]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "fedora.toml").write_text(FEDORA_TOML)
    path = tmp_path / "busmon.toml"
    path.write_text(CONFIGURATION)
    return path


# Help, version, usage


def test_the_module_and_the_script_print_their_version() -> None:
    for program in ((sys.executable, "-m", "busmon"), (SCRIPT,)):
        told = busmon("--version", program=program).stdout
        assert re.fullmatch(r"busmon, version \d+\.\d+\.\d+\S*\n", told)


def test_help_names_every_command_with_a_whole_sentence() -> None:
    text = busmon("--help").stdout
    _, _, listed = text.partition("Commands:\n")
    lines = dict(line.split(maxsplit=1) for line in listed.splitlines())
    assert set(lines) == set(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines.values())
    assert "Exit status:" in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run", ["SIGTERM", "$BUSMON_CONFIG", "/etc/busmon/busmon.toml", "--ledger", ":memory:"]),
        ("check-config", ["every problem", "no secret", "--config"]),
        ("explain", [*OUTCOMES, "--rules", "--user", "--project", "--json", "standard input"]),
        ("replay", ["--format", "--push", "--config", "standard error", "no ledger"]),
        ("demo", ["--listen", "127.0.0.1:12876", "--rate", "until interrupted"]),
        ("gaps", ["--since", "--format", "Datagrepper", "no gaps", "0 nothing is missing"]),
        ("trace", ["--json", "1 it is not", "--ledger"]),
        ("status", ["--url", "whose fault", "publisher", "0 all is well, 1 it is not"]),
        ("lint", ["--fedora-toml", "--listener-source", "--worker-source", "nothing of it is run"]),
    ],
)
def test_the_help_of_a_command_explains_it(command: str, words: list[str]) -> None:
    text = busmon(command, "--help").stdout
    flat = " ".join(text.split())
    assert [word for word in words if word not in flat] == []
    options = re.findall(r"^  (?:-\w, )?--[\w-]+[^\n]*(?:\n {4,}[^\n]*)*", text, re.MULTILINE)
    assert [option for option in options if not re.search(r"\S {2,}\S|\n", option)] == []
    assert busmon(command, "-h").stdout == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["explain", "missing.jsonl"], "File 'missing.jsonl' does not exist."),
        (["explain", "/"], "File '/' is a directory."),
        (["explain", "--rules", "no-such"], "all or module:callable, not 'no-such'"),
        (["explain", "--rules", "tests.none:get"], "can't import tests.none:get: ModuleNotFound"),
        (["explain", "--rules", "tests.support.listener:NOT_CALLABLE"], "is not callable"),
        (["replay"], "Missing argument 'FILE...'."),
        (["replay", "-", "--format", "xml"], "'xml' is not one of 'table', 'json', 'prometheus'."),
        (["replay", "-", "--push", "localhost"], "should be http://HOST:PORT or https://HOST:PORT"),
        (["replay", "-", "--push", "http://host:abc"], "should be http://HOST:PORT or"),
        (["demo", "--listen", "nonsense"], "should be host:port, an IPv6 address in brackets"),
        (["demo", "--listen", "127.0.0.1:65536"], "should be host:port"),
        (["demo", "--rate", "0"], "0.0 is not in the range x>0."),
        (["demo", "--rate", "nan"], "--rate: should be a number"),
        (["demo", "--rate", "inf"], "--rate: should be a number"),
        (["run", "--ledger", ""], "--ledger: should not be empty"),
    ],
)
def test_a_wrong_command_line_is_reported_with_status_2(words: list[str], told: str) -> None:
    ended = busmon(*words, status=2)
    assert told in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def test_a_secret_in_a_pushgateways_url_is_refused_and_not_repeated() -> None:
    ended = busmon("replay", "-", "--push", f"http://me:{SECRET}@localhost:9091", status=2)
    assert SECRET not in ended.stdout + ended.stderr


# check-config


def test_a_sound_configuration_is_summed_up(configuration: Path) -> None:
    told = busmon("check-config", "-c", configuration).stdout
    assert "koji: amqp, rules packit" in told
    assert "git: mqtt, rules all" in told
    assert "http://127.0.0.1:12876/metrics" in told
    assert SECRET not in told
    assert not (configuration.parent / "ledger.sqlite").exists()
    assert busmon("check-config", env={"BUSMON_CONFIG": str(configuration)}).stdout == told


def test_every_problem_of_a_configuration_is_named_at_once_and_no_secret(
    configuration: Path,
) -> None:
    with configuration.open("a") as file:
        file.write('colour = "blue"\nqos = 3\n[buses.umb]\ntype = "kafka"\n')
    overrides = {"BUSMON__WEB__LISTEN": "here", "BUSMON__BUSES__KOJI__RULES": "tests.none:get"}
    for command in ("check-config", "run"):
        ended = busmon(command, "-c", configuration, env=overrides, status=2)
        assert ended.stdout == ""
        assert SECRET not in ended.stderr
        lines = ended.stderr.splitlines()
        assert all(line.startswith("busmon: ") for line in lines)
        assert {line.split(": ")[1] for line in lines} == {
            "BUSMON__WEB__LISTEN",
            "BUSMON__BUSES__KOJI__RULES",
            "buses.git.colour",
            "buses.git.qos",
            "buses.umb.type",
        }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[web", r"busmon: {path}: Expected .* \(at .*\)\n"),
        ("\xff", r"busmon: {path}: is not UTF-8 text\n"),
        (None, r"busmon: {path}: No such file or directory\n"),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "run"])
def test_a_file_that_cannot_be_read_as_configuration_is_named(
    tmp_path: Path, text: str | None, told: str, command: str
) -> None:
    path = tmp_path / "busmon.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    ended = busmon(command, "-c", path, status=2)
    assert re.fullmatch(told.format(path=re.escape(str(path))), ended.stderr)


def test_rules_that_cannot_be_imported_are_a_problem_of_the_configuration(
    configuration: Path,
) -> None:
    text = configuration.read_text()
    for rules, why in [
        ("tests.none:get", "can't import tests.none:get: ModuleNotFoundError"),
        (
            "tests.support.listener:NOT_CALLABLE",
            "tests.support.listener:NOT_CALLABLE is not callable",
        ),
    ]:
        configuration.write_text(text.replace('"all"', f'"{rules}"'))
        told = busmon("check-config", "-c", configuration, status=2).stderr
        assert told.startswith(f"busmon: buses.git.rules: {why}"), told
        assert len(told.splitlines()) == 1


# explain


def explained(*words: str | Path, stdin: bytes = b"") -> list[Row]:
    """Return topic, outcome and reason of each message."""
    answers = busmon("explain", "--json", *words, stdin=stdin).stdout.splitlines()
    rows = [json.loads(answer) for answer in answers]
    return [(row["topic"], row["outcome"], row["reason"]) for row in rows]


def test_every_sample_is_explained_whichever_way_it_comes(tmp_path: Path) -> None:
    packed = tmp_path / "centos.jsonl.gz"
    packed.write_bytes(gzip.compress(CENTOS_FILE.read_bytes()))
    assert explained(FEDORA_FILE, packed) == FEDORA + CENTOS
    assert explained(stdin=CENTOS_FILE.read_bytes()) == CENTOS
    assert explained(FEDORA_FILE, "-", stdin=CENTOS_FILE.read_bytes()) == FEDORA + CENTOS


def test_an_explanation_is_a_line_of_topic_id_outcome_and_reason() -> None:
    lines = busmon("explain", FEDORA_FILE).stdout.splitlines()
    topic = "org.fedoraproject.prod.copr.build.start"
    assert lines[0].split() == [topic, "00000001-0000-4000-8000-000000000000", "handled"]
    assert lines[1].split() == [
        topic, "00000002-0000-4000-8000-000000000000", "ignored", "not-packit-user"
    ]  # fmt: skip


def test_the_packit_user_and_the_project_change_what_is_handled() -> None:
    topic = "org.fedoraproject.prod.copr.build.start"
    rows = explained(FEDORA_FILE, "--user", "alice")
    assert rows[:2] == [(topic, "ignored", "not-packit-user"), (topic, "handled", "")]
    no_specfile = ("org.fedoraproject.prod.pagure.git.receive", "ignored", "no-specfile-change")
    assert no_specfile in FEDORA
    assert no_specfile not in explained(FEDORA_FILE, "--project", "hello")


def test_the_rules_can_be_named() -> None:
    records = [
        {"topic": "builds", "headers": {}, "id": "1", "body": {"user": "packit"}},
        {"topic": "builds", "headers": {}, "id": "2", "body": {"user": "alice"}},
        {"topic": "builds", "headers": {}, "id": "3", "body": {}},
        {"topic": "git.centos.org/git.receive", "headers": {}, "id": "4", "body": {}},
    ]
    lines = "\n".join(map(json.dumps, records)).encode()

    def judged(rules: str) -> list[str]:
        return [" ".join(row).strip() for _, *row in explained("--rules", rules, stdin=lines)]

    assert judged("all") == ["handled"] * 4
    assert judged("packit") == ["unmapped"] * 4
    assert judged("centos") == ["unmapped"] * 3 + ["handled"]
    own = ["handled", "ignored not-passed", "error rule-raises", "unmapped"]
    assert judged("tests.support.listener:get_callback") == own


def test_a_bad_line_is_named_and_the_rest_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    good = CENTOS_FILE.read_bytes().splitlines()[0]
    path.write_bytes(b"\n".join([good, b"{", b"", b'{"topic": "\\u001b[31m"}', good]))
    lines = busmon("explain", path).stdout.splitlines()
    assert [line.split()[-2:] for line in lines[1:3]] == [
        ["invalid", "not-json"],
        ["invalid", "not-record"],
    ]
    assert f"{path}:2 " in lines[1]
    assert lines[2].startswith(r"\x1b[31m ")
    assert lines[0].split()[-1] == lines[3].split()[-1] == "handled"


def test_an_unreadable_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    wrong, cut = tmp_path / "wrong.gz", tmp_path / "cut.gz"
    wrong.write_bytes(b"plain")
    cut.write_bytes(gzip.compress(FEDORA_FILE.read_bytes())[:-8])
    for command in ("explain", "replay"):
        ended = busmon(command, wrong, cut, CENTOS_FILE, status=1)
        assert [line[: line.index("end:")] for line in ended.stderr.splitlines()] == [
            f"busmon: {path}: can't be read to its " for path in (wrong, cut)
        ]
        assert "git.centos.org/git.receive" in ended.stdout


def test_a_reader_that_has_enough_ends_it_silently(tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    large.write_bytes(FEDORA_FILE.read_bytes() * 20)
    with subprocess.Popen(
        [sys.executable, "-m", "busmon", "explain", large],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"org.fedoraproject.prod.copr.build.start ")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_an_explanation_comes_as_soon_as_its_message() -> None:
    """As in `fedora-messaging record … | busmon explain | grep handled`."""
    with subprocess.Popen(
        [sys.executable, "-m", "busmon", "explain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        for line in CENTOS_FILE.read_bytes().splitlines()[:3]:
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            assert b"handled" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_full_disk_and_a_poor_character_set_are_survived() -> None:
    line = '{"topic": "größe", "payload": {}}'.encode()
    told = busmon("explain", stdin=line, env={"PYTHONIOENCODING": "ascii"}).stdout
    assert told.startswith("gr\\xf6\\xdfe ")
    for command in ("explain", "replay"):
        program = ["sh", "-c", 'exec "$@" > /dev/full', "sh", sys.executable, "-m", "busmon"]
        ended = busmon(command, FEDORA_FILE, program=program, status=1)
        assert ended.stderr == "busmon: [Errno 28] No space left on device\n"


# replay

Counts = Counter[tuple[str, str, str, str]]  # bus, topic, outcome, reason


def expected(fedora: str = "fedora", centos: str = "centos") -> Counts:
    return Counter([(fedora, *row) for row in FEDORA] + [(centos, *row) for row in CENTOS])


def from_json(text: str) -> Counts:
    rows = json.loads(text)
    return Counter(
        {(row["bus"], row["topic"], row["outcome"], row["reason"]): row["messages"] for row in rows}
    )


def from_prometheus(text: str, **labels: str) -> Counts:
    """Return what busmon_messages_total says, without the zeros."""
    return Counter(
        {
            (
                sample.labels["bus"],
                sample.labels["topic"],
                sample.labels["outcome"],
                sample.labels["reason"],
            ): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "busmon_messages_total"
            and labels.items() <= sample.labels.items()
            and sample.value
        }
    )


def test_recorded_messages_are_counted_and_listed(tmp_path: Path) -> None:
    packed = tmp_path / "fedora.jsonl.gz"
    packed.write_bytes(gzip.compress(FEDORA_FILE.read_bytes()))
    table = busmon("replay", packed, "-", stdin=CENTOS_FILE.read_bytes())
    assert table.stderr == ""
    head, *rows = [line.split() for line in table.stdout.splitlines()]
    assert head == ["bus", "topic", "outcome", "reason", "messages"]
    keys = [(*row[:-1], "")[:4] for row in rows]  # a reason may be empty
    assert Counter(dict(zip(keys, (int(row[-1]) for row in rows), strict=True))) == expected()
    as_json = busmon("replay", packed, CENTOS_FILE, "--format", "json").stdout
    assert from_json(as_json) == expected()


def test_what_prometheus_is_given_is_complete_and_well_formed() -> None:
    text = busmon("replay", FEDORA_FILE, CENTOS_FILE, "--format", "prometheus").stdout
    assert from_prometheus(text) == expected()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_message_that_comes_twice_is_a_duplicate() -> None:
    rows = from_json(busmon("replay", FEDORA_FILE, FEDORA_FILE, "--format", "json").stdout)
    assert rows == Counter([("fedora", *row) for row in FEDORA]) + Counter(
        {("fedora", "", "duplicate", ""): len(FEDORA)}
    )


def test_bad_lines_are_named_by_file_and_line_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    good = CENTOS_FILE.read_bytes().splitlines()[0]
    path.write_bytes(b"\n".join([b"\xff", b"", b"[]", good, b"{}", b'{"topic": "x"}']))
    ended = busmon("replay", path, "--format", "json")
    assert ended.stderr.splitlines() == [
        f"{path}:1: not-utf8",
        f"{path}:3: not-object",
        f"{path}:5: not-record",
        f"{path}:6: not-record",
    ]
    assert from_json(ended.stdout) == Counter(
        {
            ("fedora", "__none__", "invalid", "not-utf8"): 1,
            ("fedora", "__none__", "invalid", "not-object"): 1,
            ("centos", "git.centos.org/pull-request.new", "handled", ""): 1,
            ("centos", "__none__", "invalid", "not-record"): 1,
            ("centos", "x", "invalid", "not-record"): 1,
        }
    )


def test_a_configuration_gives_names_rules_and_limits(configuration: Path) -> None:
    args = ("replay", FEDORA_FILE, CENTOS_FILE, "-c", configuration, "--format", "json")
    counts = from_json(busmon(*args).stdout)
    handled = {key for key in counts if key[2] == "handled"}
    start = "org.fedoraproject.prod.copr.build.start"
    assert {bus for bus, *_ in counts} == {"koji", "git"}
    assert ("koji", start, "ignored", "not-packit-user") in counts
    assert ("koji", "__other__", "unmapped", "") in counts
    assert ("git", "__other__", "handled", "") in handled
    assert counts.total() == len(FEDORA + CENTOS)
    assert not (configuration.parent / "ledger.sqlite").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_progress_bar_is_shown_on_a_terminal_and_leaves_bad_lines_whole(
    tmp_path: Path, packed: bool
) -> None:
    data = b"{\n" + FEDORA_FILE.read_bytes() * 3
    path = tmp_path / ("large.jsonl.gz" if packed else "large.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "busmon", "replay", path, "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = b"".join(_read_all(master)).decode()
        assert process.stdout
        assert from_json(process.stdout.read().decode()).total() == 3 * len(FEDORA) + 1
    assert process.returncode == 0
    assert "Counting  [" in shown
    assert "100%" in shown
    assert f"\r\033[K{path}:1: not-json\r\n" in shown


def _read_all(terminal: int) -> Iterator[bytes]:
    with open(terminal, "rb", buffering=0) as file:
        try:
            while part := file.read(4096):
                yield part
        except OSError:  # how Linux tells that nobody holds the other end
            return


def test_closed_standard_streams_do_no_harm() -> None:
    for command, closed in [("replay", "2>&-"), ("explain", "2>&-"), ("replay", ">&-")]:
        program = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "busmon"]
        ended = busmon(command, FEDORA_FILE, program=program)
        assert ended.stderr == ""
        assert ("copr.build.start" in ended.stdout) == (closed == "2>&-")
    program = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "busmon"]
    ended = busmon("explain", program=program, status=1)
    assert ended.stderr == "busmon: -: can't be read to its end: Bad file descriptor\n"


# Pushgateway


@pytest.fixture(scope="module")
def pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    names = ("prometheus-pushgateway", "pushgateway")  # Debian's and its own
    program = next(name for name in names if shutil.which(name))
    argv = [program, f"--web.listen-address=127.0.0.1:{port}"]
    log = tmp_path_factory.mktemp("pushgateway") / "log"
    with Server(argv, log, ready=lambda _: accepts(port)):
        yield f"http://127.0.0.1:{port}"


def test_counts_are_pushed_in_place_of_earlier_ones(pushgateway: str) -> None:
    busmon("replay", CENTOS_FILE, "--push", pushgateway)
    ended = busmon("replay", FEDORA_FILE, "--push", f"{pushgateway}/")
    assert "copr.build.start" in ended.stdout
    with urlopen(f"{pushgateway}/metrics", timeout=10) as answer:
        exposed = answer.read().decode()
    assert from_prometheus(exposed, job="busmon-replay") == Counter(
        [("fedora", *row) for row in FEDORA]
    )


def test_a_failed_push_is_reported_after_the_counts(pushgateway: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for url, why in [
        (nobody, "[Errno 111] Connection refused"),
        (f"{pushgateway}/elsewhere", "HTTP Error 404: Not Found"),
    ]:
        ended = busmon("replay", CENTOS_FILE, "--push", url, status=1)
        assert ended.stderr == f"busmon: can't push to {url}: {why}\n"
        assert "git.centos.org/git.receive" in ended.stdout


# demo


def listening(server: Server) -> bool:
    return server.logged("http://")


def demo(directory: Path, *words: str, ready: Callable[[Server], bool] = listening) -> Server:
    """Return a demo that keeps its temporary files in `directory`."""
    return Server(
        [sys.executable, "-m", "busmon", "demo", "--listen", "127.0.0.1:0", *words],
        directory / "log",
        env={"TMPDIR": str(directory)},
        ready=ready,
    )


def test_the_demo_serves_every_outcome_of_both_buses(tmp_path: Path) -> None:
    with demo(tmp_path, "--rate", "3000") as server:
        url = server.output().split()[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)

        def outcomes(bus: str) -> set[str]:
            with urlopen(url, timeout=10) as answer:
                counts = from_prometheus(answer.read().decode(), bus=bus)
            return {outcome for _, _, outcome, _ in counts}

        wait_until(lambda: outcomes("fedora") == OUTCOMES, what="all outcomes of fedora")
        wait_until(lambda: outcomes("centos") == CENTOS_OUTCOMES, what="all outcomes of centos")
        assert list(tmp_path.glob("busmon-demo-*/ledger.sqlite"))
        assert server.terminate(seconds=5) == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGHUP], [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]],
    ids=lambda signals: "+".join(number.name for number in signals),
)
def test_the_demo_ends_in_order_however_it_is_interrupted(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    with demo(tmp_path) as server:
        for number in signals:
            os.kill(server.pid, number)
        assert server.wait(5) == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_demo_ends_in_order_when_it_is_interrupted_in_its_start(tmp_path: Path) -> None:
    def waits_for_signals(server: Server) -> bool:
        status = Path(f"/proc/{server.pid}/status").read_text()
        blocked = int(re.findall(r"^SigBlk:\s+(\w+)$", status, re.MULTILINE)[0], 16)
        return bool(blocked >> (signal.SIGINT - 1) & 1)

    with demo(tmp_path, ready=waits_for_signals) as server:
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(5) == 0
        assert "Traceback" not in server.output()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_the_demo_reports_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = busmon("demo", "--listen", address, env={"TMPDIR": str(tmp_path)}, status=1)
    assert ended.stderr == f"busmon: can't listen on {address}: Address already in use\n"
    assert list(tmp_path.iterdir()) == []
