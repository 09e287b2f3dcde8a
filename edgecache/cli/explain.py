"""`edgecache explain`: what a running server knows of one object, as text or as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from edgecache.cli.admin_client import admin_client, complaining
from edgecache.core.units import format_size

Facts = dict[str, Any]


def explain(
    key: Annotated[
        str, typer.Argument(help="An object's key, or a URL's path as clients send it.")
    ],
    origin: Annotated[
        str | None,
        typer.Option(help="Its origin's name, if not the routes'.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="The running server's settings, as for serve.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Tell what is known of an object: stored or why not, fresh or not, bought and served.

    Example: edgecache explain outputs/clip.mp4
    """
    query = {"key": key} | ({} if origin is None else {"origin": origin})
    with complaining():
        facts = admin_client(config).get(f"/api/explain?{urlencode(query)}")
    typer.echo(json.dumps(facts, indent=2) if as_json else as_text(facts))


def as_text(facts: Facts) -> str:
    """Aligned lines. What the origin said is shown without what a terminal would act on."""
    lines = [facts["key"], *(f"  {name:<11} {text}" for name, text in rows(facts))]
    return "\n".join(printable(line) for line in lines)


def printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)


def rows(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "access", access(facts)
    yield "now", now(facts["now"])
    if facts["access"] == "refused":
        return
    yield "known", known(facts)
    if facts["known"] == "stored":
        yield from stored(facts)
    yield from account(facts["account"])
    yield "purged", purged(facts["purge"])


def access(facts: Facts) -> str:
    if facts["access"] == "refused":
        return f"refused: {facts['why']}"
    where = f"origin {facts['origin']}, route {facts['route']}"
    return f"{facts['access']}, {where}" + (f": {facts['why']}" if facts["why"] else "")


def now(facts: Facts) -> str:
    """What a client would get."""
    status = "the origin is asked" if facts["status"] is None else str(facts["status"])
    match facts.get("if_error"):
        case 200:
            if_error = "200, stale, if it fails"
        case 503:
            if_error = "503 if it fails"
        case _:
            if_error = ""
    return ", ".join(filter(None, (status, facts["cache_status"], if_error)))


def known(facts: Facts) -> str:
    match facts["known"]:
        case "missing":
            return f"the origin has no such object; asked again after {facts['until']}"
        case "uncacheable":
            why = facts["not_stored"] or "unknown"
            return f"may not be stored ({why}); passed through until {facts['until']}"
        case "stored":
            response = facts["response"]
            length = format_size(response["length"])
            return f"{length}, {response['content_type']}, ETag {response['etag'] or 'none'}"
        case _:
            return "nothing: not asked for yet, evicted, or purged"


def stored(facts: Facts) -> Iterator[tuple[str, str]]:
    response, slices = facts["response"], facts["slices"]
    modified = response["last_modified"] or "at a time unknown"
    yield "version", f"{response['version']}, modified {modified}"
    if response["tags"]:
        yield "tags", ", ".join(response["tags"])
    yield "validated", response["validated"]
    yield "freshness", freshness(facts["freshness"])
    yield "lifetime", facts["freshness"]["why"]
    if use := stale_use(facts["freshness"]):
        yield "stale use", use
    yield "slices", slices_text(slices)
    if facts["popularity"]["slices"]:
        yield "popularity", popularity(facts["popularity"])
    if facts["not_admitted"]:
        yield "why none", facts["not_admitted"]
    for fill in facts["fills"]:
        yield "filling", f"slices {fill['slices']}, for {fill['readers']} readers"


def freshness(facts: Facts) -> str:
    age = f"age {facts['age']:.0f} s of {facts['lifetime']:.0f} s"
    state = f"fresh for {facts['ttl']:.0f} s" if facts["fresh"] else "stale"
    return f"{state}, {age}"


def stale_use(facts: Facts) -> str:
    """For how long past its lifetime it is used."""
    behind, if_error = facts["stale_while_revalidate"], facts["stale_if_error"]
    uses = [
        f"{behind:.0f} s while it is revalidated" if behind else "",
        f"{if_error:.0f} s if the origin fails" if if_error else "",
    ]
    return ": ".join(filter(None, (", ".join(filter(None, uses)), facts["why_not_stale"])))


def slices_text(slices: Facts) -> str:
    count = f"{slices['present']} of {slices['of']}"
    if slices["looked_at"] < slices["of"]:
        count += f" (of which the first {slices['looked_at']} were looked at)"
    if not slices["present"]:
        return count
    size = format_size(slices["bytes"])
    return f"{count}: {slices['numbers']}; {size} on disk, {format_size(slices['slice_size'])} each"


def popularity(facts: Facts) -> str:
    least, most = facts["least_priority"], facts["most_priority"]
    places = f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
    pinned = ", pinned" if facts["pinned"] else ""
    return f"count {facts['count']} of its most wanted slice, priority {places}{pinned}"


def account(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts["bought"] is None:
        yield "bought", f"nothing known since {facts['since']}: unused, or too long ago"
        return
    yield "bought", f"{format_size(facts['bought'])} since {facts['since']}"
    answers = f"{facts['answers']} answers, {facts['hits']} of them hits"
    used = f", last at {facts['last_use']}" if facts["last_use"] else ""
    yield "served", f"{format_size(facts['served'])} in {answers}{used}"


def purged(facts: Facts | None) -> str:
    if facts is None:
        return "not since the start, as far as is remembered"
    softly = "softly, " if facts["soft"] else ""
    what = "all of it" if facts["by"] == "all" else f"by {facts['by']} {facts['what']}"
    return f"{facts['time']}, {softly}{what}"
