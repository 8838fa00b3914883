"""Where the values come from: the file, the environment, files of secrets."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from busmon.config.describe import describe
from busmon.config.load import ConfigError, load
from busmon.sources.amqp import fedora_toml
from busmon.sources.amqp.settings import AmqpBus
from busmon.sources.mqtt.settings import MqttBus
from busmon.sources.stomp.settings import StompBus
from tests.config import AMQP, MQTT, QUEUE, SECRET, STOMP, in_bus, problems, read
from tests.support.brokers.certificates import Certificates


def test_the_environment_overrides_every_kind_of_setting(directory: Path) -> None:
    config = read(
        directory,
        MQTT.replace("centos]", "centos-stg]")
        + in_bus(STOMP, "tls = true")
        + AMQP
        + '[web.operators.on-call]\npassword = "weak"\n'
        + '[audit.reports]\nbus = "fedora"\ntoken = "tap"\n'
        + '[slo.copr-ends]\nbus = "fedora"\ntopics = ["*"]\nstage = "listener"\nwithin = "1m"\n',
        BUSMON__WEB__TOKEN=SECRET,
        BUSMON__WEB__OPERATORS__ON_CALL__PASSWORD="strong",
        BUSMON__SLO__COPR_ENDS__OBJECTIVE="0.5",
        BUSMON__LEDGER__SIZE_LIMIT="20000000",
        BUSMON__LEDGER__RETENTION="2 h",
        BUSMON__RULES__PACKIT__USER="packit-stg",
        BUSMON__BUSES__CENTOS_STG__TOPICS="a/#, b",
        BUSMON__BUSES__CENTOS_STG__QOS="0",
        busmon__buses__umb__tls="false",
        BUSMON__BUSES__FEDORA__QUEUE=QUEUE.replace("0", "1"),
        BUSMON_CONFIG="ignored, since a path is given",
        OTHER__WEB__LISTEN="ignored",
    )
    centos, umb, fedora = config.buses.values()
    assert isinstance(centos, MqttBus)
    assert isinstance(umb, StompBus)
    assert isinstance(fedora, AmqpBus)
    assert config.web.token == SecretStr(SECRET)
    [(name, operator)] = config.web.operators.items()
    assert (name, operator.password) == ("on-call", SecretStr("strong"))
    assert {name: level.objective for name, level in config.slo.items()} == {"copr-ends": 0.5}
    assert (config.ledger.size_limit, config.ledger.retention) == (20000000, 7200)
    assert config.rules.packit.user == "packit-stg"
    assert (centos.topics, centos.qos) == (("a/#", "b"), 0)
    assert umb.tls is False
    assert str(fedora.queue) == QUEUE.replace("0", "1")


def test_a_problem_from_the_environment_names_its_variable(directory: Path) -> None:
    assert problems(
        directory,
        "[log]\nlevel = 'loud'\n" + MQTT,
        BUSMON__BUSES="x",
        BUSMON__BUSES__CENTOS__PASWORD=SECRET,
        BUSMON__BUSES__CENTOS__PASSWORD_FILE="nowhere",
        BUSMON__BUSES__CENTOS__QOS="two",
        BUSMON__BUSES__CENTOS__TOPICS="a/#/b",
        BUSMON__BUSES__CENTOS__URL__HOST="x",
        BUSMON__BUSES__FEDORA__URL="x",
        BUSMON__WEB__PASSWORD=SECRET,
        BUSMON__WEP__TOKEN=SECRET,
        BUSMON__="x",
    ) == [
        "log.level: should be 'debug', 'info', 'warning' or 'error'",
        "BUSMON__BUSES__CENTOS__TOPICS: a/#/b: # should stand alone after the last /",
        "BUSMON__BUSES__CENTOS__PASSWORD_FILE: cannot be read: No such file or directory",
        "BUSMON__BUSES__CENTOS__PASSWORD_FILE: needs username too",
        "BUSMON__BUSES__CENTOS__PASWORD: no such setting",
        "BUSMON__BUSES__CENTOS__QOS: should be a whole number",
        "BUSMON__: no such setting",
        "BUSMON__WEB__PASSWORD: needs username too",
        "BUSMON__WEP__TOKEN: no such setting",
        "BUSMON__BUSES: is a table, not a setting",
        "BUSMON__BUSES__CENTOS__URL__HOST: is in a setting, not in a table",
        "BUSMON__BUSES__FEDORA__URL: the configuration file has no such bus",
    ]


def test_what_is_missing_beside_a_variable_is_named_itself(directory: Path) -> None:
    assert problems(
        directory, MQTT, BUSMON__SENTRY__ENVIRONMENT="stg", BUSMON__AUDIT__READY__BUS="centos"
    ) == ["audit.ready.url: is missing", "sentry.dsn: is missing"]


def test_a_secret_is_what_its_file_holds_without_the_newline_at_its_end(directory: Path) -> None:
    config = read(
        directory,
        "[web]\ntoken_file = 'exists'\n" + in_bus(MQTT, "username = 'u'"),
        BUSMON__BUSES__CENTOS__PASSWORD_FILE="exists",
    )
    centos = config.buses["centos"]
    assert isinstance(centos, MqttBus)
    assert config.web.token == centos.password == SecretStr(SECRET)


def test_relative_paths_start_at_the_directory_of_the_file(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "ca.pem").write_bytes(certificates.ca.read_bytes())
    path = tmp_path / "busmon.toml"
    path.write_text(
        "[ledger]\npath = 'ledger.sqlite'\n"
        + in_bus(MQTT.replace("mqtt://", "mqtts://"), "ca = 'ca.pem'")
    )
    config = load(path, {})
    centos = config.buses["centos"]
    assert isinstance(centos, MqttBus)
    assert config.ledger.path == str(tmp_path / "ledger.sqlite")
    assert centos.ca == tmp_path / "ca.pem"


def test_a_ledger_in_memory_is_no_path(directory: Path) -> None:
    assert read(directory, "[ledger]\npath = ':memory:'\n" + MQTT).ledger.path == ":memory:"


def test_without_a_file_the_one_of_the_environment_is_read(directory: Path) -> None:
    (directory / "other.toml").write_text(MQTT)
    assert list(load(None, {"BUSMON_CONFIG": "other.toml"}).buses) == ["centos"]
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: No such file or directory$"):
        load(None, {"BUSMON_CONFIG": "nowhere.toml"})


def test_without_any_file_the_error_says_how_to_name_one(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("busmon.config.load.DEFAULT_PATH", str(directory / "none.toml"))
    with pytest.raises(ConfigError, match=r"directory; -c FILE or \$BUSMON_CONFIG names another$"):
        load(None, {})


def test_a_file_that_is_no_text_is_reported(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"^latin1: is not UTF-8 text$"):
        load(directory / "latin1", {})


def test_a_secret_is_never_printed(directory: Path) -> None:
    """Neither of a good configuration nor by what is said of a bad one."""
    text = (
        f"[web]\ntoken = '{SECRET}'\n" + AMQP + in_bus(MQTT, "username='u'", f"password='{SECRET}'")
    )
    text += in_bus(STOMP, "login = 'u'", "passcode_file = 'exists'")
    config = read(directory, text)
    toml = fedora_toml.read(directory / "fedora.toml")
    printed = [repr(config), str(config), config.model_dump_json(), describe(config), repr(toml)]
    wrongs = [
        text.replace("password=", "qos = 7\npassword="),
        text.replace("password=", "password_file = 'exists'\npassword="),
        text.replace("password=", f"{SECRET[:3]} = '{SECRET}'\npassword="),
        text.replace("'exists'", f"'{SECRET}'"),
        text.replace(f"'{SECRET}'", f"['{SECRET}']"),
        text.replace(f"'{SECRET}'", f"'{SECRET}"),
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigError) as raised:
            read(directory, wrong)
        printed += [str(raised.value), repr(raised.value), repr(raised.value.__cause__)]
    with pytest.raises(ValueError, match="no user and no password") as refused:
        MqttBus(
            type="mqtt",
            rules="all",
            url=f"mqtt://u:{SECRET}@localhost",
            topics=("a",),
            client_id="x",
            password=SecretStr(SECRET),
        )
    printed += [str(refused.value), repr(refused.value)]
    assert [text for text in printed if SECRET in text] == []


def test_the_configuration_is_frozen(directory: Path) -> None:
    config = read(directory, MQTT)
    with pytest.raises(ValueError, match="frozen"):
        config.web.listen = "x"
