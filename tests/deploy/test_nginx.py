"""The location for Packit's nginx in config/openshift/README.md, in a real nginx."""

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.deploy.manifests import documented
from tests.support.brokers import Server, accepts, free_port
from tests.support.busmon_process import Busmon

TOKEN = {"Authorization": "Bearer m3trics"}
CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def location(busmon: int) -> str:
    """Return the block of the document, with another address of busmon."""
    block = documented("nginx", "location")
    assert "http://busmon:12876/" in block
    return block.replace("busmon:12876", f"127.0.0.1:{busmon}")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx in front of a busmon that has a token."""
    directory = tmp_path_factory.mktemp("nginx")
    bus = {"type": "replay", "rules": "packit", "files": ["/dev/null"]}
    busmon, port = Busmon(directory, {"fedora": bus}), free_port()
    file = busmon.configuration
    file.write_text(file.read_text().replace("[web]\n", '[web]\ntoken = "m3trics"\n'))
    configuration = directory / "nginx.conf"
    text = CONFIGURATION.format(directory=directory, port=port, location=location(busmon.port))
    configuration.write_text(text)
    program = ["nginx", "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    with busmon, Server(program, directory / "nginx.log", ready=lambda _: accepts(port)):
        yield port


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_prometheus_gets_the_metrics_with_the_token(nginx: int) -> None:
    status, body = ask(nginx, "/busmon-metrics", **TOKEN)
    assert status == 200
    assert b"\nbusmon_build_info{" in body


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}], ids=["none", "wrong"])
def test_without_the_token_there_are_no_metrics(nginx: int, headers: dict[str, str]) -> None:
    assert ask(nginx, "/busmon-metrics", **headers)[0] == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_every_request_becomes_a_get(nginx: int, method: str) -> None:
    assert ask(nginx, "/busmon-metrics", method, **TOKEN)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/busmon-metrics/", "/busmon-metricsx", "/v1/reports"]
)
def test_no_other_path_reaches_busmon(nginx: int, path: str) -> None:
    assert ask(nginx, path, **TOKEN)[0] == 404
