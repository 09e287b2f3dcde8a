"""A parent that keeps child processes running; what they do, it does not know.

Rule of this package: the parent never waits for one thing only, has no thread and no event loop,
so it can fork at any moment. A child is replaced, never mended: what it cannot get right, it ends
for, and is forked anew.
"""

from edgecache.supervisor.child import Child, Role
from edgecache.supervisor.limits import raise_file_limit
from edgecache.supervisor.loop import Timing, supervise
from edgecache.supervisor.notify import Notifier
from edgecache.supervisor.states import ChildState, States

__all__ = [
    "Child",
    "ChildState",
    "Notifier",
    "Role",
    "States",
    "Timing",
    "raise_file_limit",
    "supervise",
]
