"""What played busmons have to do with: topics, queues and faults."""

from dataclasses import dataclass

BUSES = ("fedora", "centos", "stomp")
COPR = "org.fedoraproject.prod.copr.build.end"
KOJI = "org.fedoraproject.prod.buildsys.task.state.change"
ANITYA = "org.release-monitoring.prod.anitya.project.version.update.v2"
# Messages to be handled in a minute, by bus and topic.
VOLUME = {
    ("fedora", COPR): 8,
    ("fedora", KOJI): 4,
    ("fedora", ANITYA): 4,
    ("centos", "git.centos.org/git.receive"): 4,
    ("stomp", "/topic/builds"): 4,
}
QUEUES = {"short-running": 12, "long-running": 4}  # tasks in a minute


@dataclass(frozen=True)
class Fault:
    """What is wrong from `begin` to `end`, in minutes; `of` is the bus, topic or queue.

    Of busmon: "pod gone", "crash loop", "disk full", and "cut" from a bus. Of others: "broker down"
    and "silent" of a bus or topic, "listener down", "listener drops" half, "monitor cut"
    and "tap cut" from busmon, "workers down", "queue without workers", "slow workers", "events not
    processed". "accepted" is no fault: a person accepts all gaps.
    """

    kind: str
    begin: float
    end: float
    of: str = ""
