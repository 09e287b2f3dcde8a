"""Pages of metrics, as lines to compare."""

from prometheus_client import CollectorRegistry, generate_latest

from edgecache.families import Families


def samples(registry: CollectorRegistry) -> list[str]:
    """The samples, in an order of their own."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#") and "_created" not in line)


def page_of(families: Families) -> list[str]:
    """The samples of what is on the boards."""

    class Page:
        collect = staticmethod(lambda: families.metrics(families.sums()))

    registry = CollectorRegistry()
    registry.register(Page())
    return samples(registry)
