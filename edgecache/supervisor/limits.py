"""How many descriptors a process may have."""

import resource

# Some containers allow a billion, and there are programs that close them all, one by one.
MOST_FILES = 2**20


def raise_file_limit(most: int = MOST_FILES) -> int:
    """Soft to hard, but to no more than `most`: only select() minds. The limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return soft
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
