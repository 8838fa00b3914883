"""A cluster as Prometheus sees it: the API, which allows what the manifests grant, and a kubelet.

The objects are those of the manifests, and the services of Packit that are scraped.
"""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.deploy.manifests import MONITORING, NODE_EXPORTER, VARIANTS, Manifest, the
from tests.deploy.simulation.samples import FOLDER
from tests.support.brokers.certificates import Certificates
from tests.support.http_server import HttpServer, Silent

TOKEN = "t0ken-of-prometheus"
PROD, STAGE = "packit--prod", "packit--stg"
OTHERS = 'kubelet_volume_stats_used_bytes{namespace="others",persistentvolumeclaim="theirs"} 1\n'
PROXIED = "busmon_build_info 1\n"


class Right(NamedTuple):
    """What a rule of RBAC allows; the core group has all that is needed here."""

    scope: str  # a namespace, or "cluster"
    verb: str
    resource: str


def rights() -> set[Right]:
    """Return all that the manifests grant to Prometheus."""
    roles = {
        **dict.fromkeys((PROD, STAGE), the("Role", MONITORING["prometheus"])),
        "cluster": the("ClusterRole", MONITORING["prometheus-nodes"]),
    }
    return {
        Right(scope, verb, resource)
        for scope, role in roles.items()
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def pod(name: str, template: Manifest, ip: str) -> Manifest:
    """Return a running pod of this template, ready on node-1."""
    return {
        "metadata": {"name": name, **template["metadata"]},
        "spec": {"nodeName": "node-1", **template["spec"]},
        "status": {"phase": "Running", "podIP": ip, "hostIP": "127.0.0.1", "conditions": []},
    }


def service(name: str, **ports: int) -> Manifest:
    named = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()]
    return {"metadata": {"name": name, "labels": {}}, "spec": {"ports": named}}


def endpoints(name: str, ip: str, **ports: int) -> Manifest:
    named = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports.items()]
    return {"metadata": {"name": name}, "subsets": [{"addresses": [{"ip": ip}], "ports": named}]}


def objects() -> dict[tuple[str, str], list[Manifest]]:
    """Return all objects by namespace and resource."""
    busmon, listener, metrics = (
        the("Deployment", manifests)["spec"]["template"]
        for manifests in (
            VARIANTS["deployment"],
            VARIANTS["sidecar"],
            MONITORING["kube-state-metrics"],
        )
    )
    both = {**busmon, "spec": {"containers": [*busmon["spec"]["containers"], NODE_EXPORTER]}}
    return {
        (PROD, "pods"): [
            pod("busmon-1", both, "127.0.0.11"),
            pod("kube-state-metrics-1", metrics, "127.0.0.12"),
        ],
        (STAGE, "pods"): [pod("packit-service-fedmsg-1", listener, "127.0.0.13")],
        (PROD, "services"): [
            service("pushgateway", **{"prometheus-push": 80}),
            service("flower", **{"5555": 5555}),
            service("kube-state-metrics", metrics=8080),
            service("busmon", http=12876),
        ],
        (STAGE, "services"): [],
        (PROD, "endpoints"): [
            endpoints("kube-state-metrics", "127.0.0.12", metrics=8080),
            endpoints("busmon", "127.0.0.11", http=12876),
        ],
        (STAGE, "endpoints"): [],
    }


class Cluster:
    """Its API and its only kubelet, at one port with TLS; `used` are the rights that were used."""

    def __init__(self, certificates: Certificates) -> None:
        self.used: set[Right] = set()
        self._granted = rights()
        self._objects = objects()
        self.ending = Event()
        self._server = HttpServer(("127.0.0.1", 0), partial(Handler, self))
        self._server.daemon_threads = False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates.server)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_port
        address = {"type": "InternalIP", "address": "127.0.0.1"}
        kubelet = {"kubeletEndpoint": {"Port": self.port}}
        node = {"addresses": [address], "daemonEndpoints": kubelet}
        self._objects["cluster", "nodes"] = [{"metadata": {"name": "node-1"}, "status": node}]

    def allows(self, *right: str) -> bool:
        """Return whether the manifests grant this, and remember it."""
        self.used.add(Right(*right))
        return Right(*right) in self._granted

    def listed(self, scope: str, resource: str) -> Manifest:
        found = self._objects[scope, resource]
        for each in found:
            each["metadata"] |= {"namespace": scope, "uid": f"{scope}-{each['metadata']['name']}"}
        return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": found}

    @contextmanager
    def serving(self) -> Iterator["Cluster"]:
        thread = Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Handler(Silent, BaseHTTPRequestHandler):
    """Answers as the API does, or, below /metrics, as the kubelet."""

    protocol_version = "HTTP/1.1"

    def __init__(self, cluster: Cluster, *arguments: Any) -> None:
        self.cluster = cluster
        super().__init__(*arguments)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        proxied = re.fullmatch(r"/api/v1/namespaces/([\w-]+)/pods/[\w.-]+:\d+/proxy/\w+", url.path)
        listed = re.fullmatch(r"/api/v1(?:/namespaces/([\w-]+))?/(\w+)", url.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401)
        elif url.path in {"/metrics", "/metrics/cadvisor"}:
            name = "cadvisor" if url.path.endswith("cadvisor") else "kubelet"
            text = (FOLDER / f"{name}.txt").read_text() + OTHERS
            self.answer(
                200 if self.cluster.allows("cluster", "get", "nodes/metrics") else 403, text
            )
        elif proxied:
            allowed = self.cluster.allows(proxied[1], "get", "pods/proxy")
            self.answer(200 if allowed else 403, PROXIED)
        elif listed:
            self.list_or_watch(listed[1] or "cluster", listed[2], "watch" in parse_qs(url.query))
        else:
            self.answer(404)

    def list_or_watch(self, scope: str, resource: str, watch: bool) -> None:
        if not self.cluster.allows(scope, "watch" if watch else "list", resource):
            self.answer(403)
        elif watch:  # nothing ever changes
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.cluster.ending.wait()
            self.close_connection = True
        else:
            self.answer(200, json.dumps(self.cluster.listed(scope, resource)))

    def answer(self, status: int, text: str = "") -> None:
        body = text.encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
