"""How far the tree of tasks is that was made of a message."""

from enum import IntEnum


class TreeProgress(IntEnum):
    """How far a tree is; the largest that holds for one of its tasks."""

    SUCCEEDED = 0
    RUNNING = 1  # some task has not ended yet
    FAILED = 2  # some task failed, or was revoked or rejected


# Of the tree of one task. Of a tree that is being pruned, the root goes first: then nothing is
# known any more, whatever became of the tasks that are left.
PROGRESS = """(
    SELECT CASE WHEN max(CASE WHEN member.id = member.root THEN 1 ELSE 0 END) = 1 THEN
        max(CASE WHEN member.state = 'succeeded' THEN 0
            WHEN member.state IN ('failed', 'revoked', 'rejected') THEN 2 ELSE 1 END)
    END
    FROM tasks AS member WHERE member.root = tap_reports.{task}
)"""
# Of a report of the tap: a TreeProgress; NULL if no event of a task is known. If the message was
# passed on twice, one of two trees is enough.
TREE = (
    f"CASE WHEN {PROGRESS.format(task='other_task')} = 0 THEN 0"
    f" ELSE {PROGRESS.format(task='task')} END"
)
