"""Who may have how many of a process's file descriptors. Rule: the shares leave some for the rest
(index, log, origin), for where a slice can't be opened an answer that runs is cut.
"""

import resource
import sys


def share(part: int) -> int:
    """One of so many equal parts of what the process may have."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft // part


def most_connections() -> int:
    """From clients; a worker may have as many to the keeper."""
    return share(3)


def most_slices() -> int:
    """Open at a time."""
    return share(4)
