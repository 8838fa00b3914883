"""How far the tree of tasks is that was made of a message."""

from enum import IntEnum


class TreeProgress(IntEnum):
    """How far a tree is; of the first three, the largest that holds for one of its tasks."""

    SUCCEEDED = 0
    RUNNING = 1  # some task has not ended yet
    FAILED = 2  # some task failed, or was revoked or rejected
    UNSEEN = 3  # all known tasks succeeded, but others may have been sent while nobody watched


# Of the tree of one task. Of a tree that is being pruned, the root goes first: then nothing is
# known any more, whatever became of the tasks that are left.
PROGRESS = """(
    SELECT CASE WHEN began IS NULL THEN NULL
        WHEN progress > 0 THEN progress
        WHEN ended <= (
            SELECT coverage.until FROM coverage
            WHERE observer = 'celery:' || (SELECT name FROM buses WHERE id = tap_reports.bus)
                AND since <= began ORDER BY since DESC LIMIT 1
        ) THEN 0 ELSE 3
    END
    FROM (
        SELECT max(CASE WHEN member.state = 'succeeded' THEN 0
                WHEN member.state IN ('failed', 'revoked', 'rejected') THEN 2 ELSE 1
            END) AS progress,
            max(CASE WHEN member.id = member.root
                THEN coalesce(member.received_at, member.sent_at) END) AS began,
            max(member.finished_at) AS ended
        FROM tasks AS member WHERE member.root = tap_reports.{task}
    ) AS tree
)"""
# Of a report of the tap: a TreeProgress; NULL if no event of a task is known. If the message was
# passed on twice, one of two trees is enough.
TREE = (
    f"CASE WHEN {PROGRESS.format(task='other_task')} = 0 THEN 0"
    f" ELSE {PROGRESS.format(task='task')} END"
)
