"""A private ActiveMQ: STOMP, plain and with TLS, its messages kept on disk."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import stomp

from tests.support.brokers import Server, free_port, wait_until
from tests.support.brokers.certificates import Certificates

HOME = Path("/usr/share/activemq")
USER, PASSCODE = "busmon", "made-up"
STORE_PASSWORD = "made-up"

# A login without a name is accepted; one with a name needs the passcode. Nobody may
# use topics other than test.* and VirtualTopic.*. A VirtualTopic's consumers are
# named by two words, client and UUID, as on Red Hat's bus; by default it is one.
BROKER = """\
<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans
    http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core
    http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" useJmx="false"
      dataDirectory="{directory}/data" schedulePeriodForDestinationPurge="0">
    <persistenceAdapter>
      <kahaDB directory="{directory}/data/kahadb" journalMaxFileLength="4mb"/>
    </persistenceAdapter>
    <plugins>
      <simpleAuthenticationPlugin anonymousAccessAllowed="true" anonymousUser="anonymous"
          anonymousGroup="everybody">
        <users>
          <authenticationUser username="{user}" password="{passcode}" groups="everybody"/>
        </users>
      </simpleAuthenticationPlugin>
      <authorizationPlugin><map><authorizationMap><authorizationEntries>
        <authorizationEntry queue=">" read="everybody" write="everybody" admin="everybody"/>
        <authorizationEntry topic="test.>" read="everybody" write="everybody" admin="everybody"/>
        <authorizationEntry topic="VirtualTopic.>" read="everybody" write="everybody"
          admin="everybody"/>
        <authorizationEntry topic="ActiveMQ.Advisory.>" read="everybody" write="everybody"
          admin="everybody"/>
      </authorizationEntries></authorizationMap></map></authorizationPlugin>
    </plugins>
    <destinationInterceptors>
      <virtualDestinationInterceptor><virtualDestinations>
        <virtualTopic name="VirtualTopic.&gt;" prefix="Consumer.*.*."/>
      </virtualDestinations></virtualDestinationInterceptor>
    </destinationInterceptors>
    <sslContext>
      <sslContext keyStore="file:{directory}/server.p12" keyStoreType="PKCS12"
        keyStorePassword="{store}" keyStoreKeyPassword="{store}"
        trustStore="file:{directory}/trusted.p12" trustStoreType="PKCS12"
        trustStorePassword="{store}"/>
    </sslContext>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://127.0.0.1:{port}"/>
      <transportConnector name="tls" uri="stomp+ssl://127.0.0.1:{tls_port}?needClientAuth=true"/>
    </transportConnectors>
  </broker>
</beans>
"""

LOGGING = """\
log4j.rootLogger=WARN, console
log4j.logger.org.apache.activemq.broker.BrokerService=INFO
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%p %c: %m%n
"""


class ActiveMQ(Server):
    """An ActiveMQ with a directory of its own; its data survives `restart` and `kill`."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.certificates = certificates
        directory.mkdir(parents=True)
        _make_stores(directory, certificates)
        configuration = directory / "activemq.xml"
        configuration.write_text(
            BROKER.format(
                directory=directory,
                user=USER,
                passcode=PASSCODE,
                store=STORE_PASSWORD,
                port=self.port,
                tls_port=self.tls_port,
            )
        )
        (directory / "log4j.properties").write_text(LOGGING)
        java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        places = {"home": HOME, "base": directory, "conf": directory, "data": directory / "data"}
        super().__init__(
            [
                *java,
                *(f"-Dactivemq.{name}={place}" for name, place in places.items()),
                f"-Djava.io.tmpdir={directory}",
                "-jar",
                HOME / "bin/activemq.jar",
                "start",
                f"xbean:file:{configuration}",
            ],
            directory / "activemq.log",
            ready=lambda server: server.logged(") started"),  # its ports open before that
        )


def _make_stores(directory: Path, certificates: Certificates) -> None:
    """Write the PEM files as the key stores that Java reads."""
    certificate, key = certificates.server
    server: list[str | Path] = ["-in", certificate, "-inkey", key, "-out", directory / "server.p12"]
    authority: list[str | Path] = [
        "-alias",
        "ca",
        "-file",
        certificates.ca,
        "-keystore",
        directory / "trusted.p12",
    ]
    password = ["-storetype", "PKCS12", "-storepass", STORE_PASSWORD]
    _run("openssl", "pkcs12", "-export", *server, "-passout", f"pass:{STORE_PASSWORD}")
    # keytool, since Java does not trust what openssl puts into a store without a key.
    _run("keytool", "-importcert", "-noprompt", *authority, *password)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Publisher:
    """A STOMP connection that publishes, to any broker."""

    def __init__(self, port: int, vhost: str | None = None, **login: str) -> None:
        self._connection = stomp.Connection12([("127.0.0.1", port)], vhost=vhost)
        self._connection.set_listener("receipts", self)
        self._connection.connect(wait=True, **login)
        self._receipts: set[str] = set()
        self._batches = 0

    def on_receipt(self, frame: Any) -> None:
        """Called by stomp.py."""
        self._receipts.add(frame.headers["receipt-id"])

    def send(self, destination: str, *bodies: Any, **headers: str) -> None:
        """Publish each body to one destination; see `send_all`."""
        self.send_all([(destination, body) for body in bodies], **headers)

    def send_all(self, messages: Sequence[tuple[str, Any]], **headers: str) -> None:
        """Publish to each destination its body, bytes as they are and anything else as JSON.

        On return the broker has stored them: it takes frames in order, so the receipt
        of the last is good for all.
        """
        self._batches += 1
        receipt = str(self._batches)
        headers |= {"persistent": "true"}
        for left, (destination, body) in zip(
            range(len(messages) - 1, -1, -1), messages, strict=True
        ):
            content = body if isinstance(body, bytes) else json.dumps(body)
            last = {} if left else {"receipt": receipt}
            self._connection.send(destination, content, headers=headers | last)
        wait_until(lambda: receipt in self._receipts, what="the broker's receipt")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.disconnect(receipt="end")


@pytest.fixture(scope="session")
def activemq(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[ActiveMQ]:
    """An ActiveMQ for the whole session; a test may restart it."""
    with ActiveMQ(tmp_path_factory.mktemp("brokers") / "activemq", certificates) as server:
        yield server
