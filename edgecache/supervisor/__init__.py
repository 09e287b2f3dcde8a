"""A parent that keeps child processes running; what they do, it does not know.

Rule of this package: the parent never waits for one thing only, has no thread and no event loop,
so it can fork at any moment. A child is replaced, never mended: what it cannot get right, it ends
for, and is forked anew.
"""
