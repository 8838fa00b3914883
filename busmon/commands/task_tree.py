"""The tree of tasks that was made of a message, for `busmon trace`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from busmon.ledger.tables import Tables
from busmon.ledger.tasks import MAX_TREE_TASKS, Task
from busmon.text import format_number, format_time

MAX_INDENTED = 8  # levels; a publisher may claim any depth


class Branch(NamedTuple):
    """A task in its tree."""

    task: Task
    parent: str | None  # the id of a task of the tree; None for the root
    depth: int  # 0 for the root


def find_tree(tables: Tables, root: str | None) -> list[Branch]:
    """Return the tree of a root, each task before those that it sent; empty if none is known.

    What claims a parent that is not above it in the tree is shown right below the root.
    """
    tasks = tables.tasks.tree(root) if root else []
    if not root or not tasks:
        return []
    known = {task.id for task in tasks}
    children: Mapping[str | None, list[Task]] = defaultdict(list)
    for task in tasks:
        parent = task.parent if task.parent in known else root
        children[None if task.id == root else parent].append(task)
    branches = list(_walk(children))
    shown = {branch.task.id for branch in branches}
    return [*branches, *(Branch(task, root, 1) for task in tasks if task.id not in shown)]


def _walk(children: Mapping[str | None, Sequence[Task]]) -> Iterator[Branch]:
    """Yield the root and what is below it. Each task has one parent, so none is reached twice."""
    waiting = [Branch(task, None, 0) for task in children[None]]
    while waiting:
        branch = waiting.pop()
        yield branch
        below = reversed(children[branch.task.id])
        waiting += (Branch(task, branch.task.id, branch.depth + 1) for task in below)


def as_dicts(tree: Sequence[Branch]) -> list[dict[str, Any]]:
    """Return the tasks for JSON, each before those that it sent; Unix times."""
    return [branch.task._asdict() | {"parent": branch.parent} for branch in tree]


def lines(tree: Sequence[Branch]) -> Iterator[str]:
    """Yield how many of the tasks behind the root succeeded, and then a line for each."""
    behind = [branch for branch in tree if branch.depth]
    if not behind:
        return
    succeeded = sum(branch.task.state == "succeeded" for branch in behind)
    text = f"{succeeded} of {format_number(len(behind), 'task')} succeeded"
    yield text if len(tree) < MAX_TREE_TASKS else f"{text}; there may be more"
    for task, _, depth in behind:
        yield f"{'  ' * min(depth, MAX_INDENTED)}{task.name}: {describe(task)}, id {task.id}"


def describe(task: Task) -> str:
    """Return the state of a task, when it came to it, and how often it was retried."""
    times = {
        "sent": task.sent_at,
        "received": task.received_at,
        "started": task.started_at,
        "finished": task.finished_at,
    }
    if task.sent_at == task.received_at:
        del times["sent"]  # no event says it
    parts = [task.state, *(f"{word} {format_time(at)}" for word, at in times.items() if at)]
    if task.retries:
        parts.append(f"retries {task.retries}")
    return ", ".join(parts)
