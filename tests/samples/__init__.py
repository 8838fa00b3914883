"""Made-up messages in the shapes of recorded ones, and what the listener makes of each."""

from pathlib import Path

FOLDER = Path(__file__).parent


def _expected(table: str, prefix: str) -> list[tuple[str, str, str]]:
    """Return topic, outcome and reason of each line of a file, in order."""
    rows = []
    for line in table.strip().splitlines():
        topic, outcome, *reason = line.split()
        full = topic if topic.startswith("org.") else prefix + topic
        rows.append((full, outcome, reason[0] if reason else ""))
    return rows


FEDORA_FILE = FOLDER / "fedora.jsonl"
FEDORA = _expected(
    """
    copr.build.start  handled
    copr.build.start  ignored  not-packit-user
    copr.build.end  handled
    copr.build.end  ignored  not-packit-user
    buildsys.tag  handled
    buildsys.tag  ignored  not-sidetag
    buildsys.tag  error  rule-raises
    buildsys.build.state.change  handled
    buildsys.build.state.change  ignored  not-build-method
    buildsys.build.state.change  ignored  releng
    buildsys.task.state.change  handled
    buildsys.task.state.change  ignored  not-packit-user
    pagure.git.receive  handled
    pagure.git.receive  ignored  no-specfile-change
    pagure.pull-request.new  handled
    pagure.pull-request.updated  handled
    pagure.pull-request.rebased  handled
    pagure.pull-request.comment.added  handled
    pagure.pull-request.comment.added  error  rule-raises
    pagure.pull-request.flag.added  handled
    pagure.pull-request.flag.added  ignored  not-packit-user
    pagure.pull-request.flag.updated  handled
    pagure.pull-request.flag.updated  ignored  not-packit-user
    pagure.pull-request.closed  handled
    pagure.pull-request.closed  ignored  not-merged
    hotness.update.bug.file  handled
    org.release-monitoring.prod.anitya.project.version.update.v2  handled
    org.release-monitoring.prod.anitya.project.version.update.v2  ignored  no-centos-mapping
    openscanhub.task.started  handled
    openscanhub.task.finished  handled
    logdetective.analysis  handled
    forgejo.push  handled
    forgejo.push  ignored  no-specfile-change
    forgejo.push  ignored  not-dist-git
    forgejo.pull_request  handled
    forgejo.pull_request  ignored  not-dist-git
    forgejo.issue_comment  handled
    forgejo.issue_comment  ignored  not-dist-git
    forgejo.issue_comment  error  rule-raises
    forgejo.action_run_success  handled
    forgejo.action_run_success  ignored  not-dist-git
    forgejo.action_run_failure  handled
    forgejo.action_run_failure  ignored  not-dist-git
    forgejo.action_run_recover  handled
    forgejo.action_run_recover  ignored  not-dist-git
    forgejo.action_run_cancelled  handled
    forgejo.action_run_cancelled  ignored  not-dist-git
    bodhi.update.comment  unmapped
    copr.build.end  invalid  not-object
    copr.build.end  invalid  headers
    copr.build.end  error  kills-consumer
    """,
    "org.fedoraproject.prod.",
)

CENTOS_FILE = FOLDER / "centos.jsonl"
CENTOS = _expected(
    """
    pull-request.new  handled
    pull-request.reopened  handled
    pull-request.updated  handled
    pull-request.comment.added  handled
    pull-request.comment.edited  handled
    git.receive  handled
    pull-request.tag.added  handled
    pull-request.flag.added  handled
    pull-request.new  error  rule-raises
    """,
    "git.centos.org/",
)
