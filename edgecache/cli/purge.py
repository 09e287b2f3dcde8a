"""`edgecache purge`: objects out of the cache of a running server."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecache.cli.admin_client import admin_client, complaining

USAGE = "say what to purge: one of --key, --prefix, --tag or --all"


def purge(
    key: Annotated[str, typer.Option(help="The object of this key.", show_default=False)] = "",
    prefix: Annotated[str, typer.Option(help="All whose keys begin so.", show_default=False)] = "",
    tag: Annotated[str, typer.Option(help="All with this tag.", show_default=False)] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    origin: Annotated[
        str, typer.Option(help="Only of this origin of the config.", show_default=False)
    ] = "",
    soft: Annotated[
        bool, typer.Option("--soft", help="Revalidate at the next use; the bytes stay.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be purged.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --all.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as a JSON line.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="The running server's settings, as for serve.", show_default=False),
    ] = None,
) -> None:
    """Remove objects from the cache: when it returns, nobody is served the old bytes.

    Example: edgecache purge --prefix outputs/cat/ --dry-run
    """
    target = {
        name: value
        for name, value in (("key", key), ("prefix", prefix), ("tag", tag), ("all", everything))
        if value
    }
    if len(target) != 1:
        raise typer.BadParameter(USAGE)
    asked: dict[str, Any] = {**target, "soft": soft, "dry_run": dry_run}
    if origin:
        asked["origin"] = origin
    if everything and not (yes or dry_run) and is_terminal():
        typer.confirm("Purge everything?", abort=True)
    with complaining():
        answer = admin_client(config).post("/api/purge", asked)
    typer.echo(json.dumps(answer) if as_json else told(answer, asked))


def is_terminal() -> bool:
    return sys.stdin.isatty()


def told(answer: dict[str, Any], asked: dict[str, Any]) -> str:
    if would := answer.get("would_purge"):
        keys = [f"  {key}" for key in would["keys"]]
        more = would["objects"] - len(keys)
        if more > 0:
            keys.append(f"  and {more} more")
        objects = f"{counted(would['objects'])}, {would['bytes']} bytes stored"
        return "\n".join([f"would purge {objects}", *keys])
    soft = asked["soft"]
    how = "purged softly" if soft else "purged"
    what = answer.get("purged")
    if isinstance(what, int):
        return f"{how}: {counted(what)}"
    kind = next(kind for kind in ("prefix", "tag", "all", "key") if kind in asked)
    what = "everything" if kind == "all" else f"{kind} {asked[kind]}"
    if "origin" in asked:
        what += f" of {asked['origin']}"
    return f"{how}: {what}" + ("" if soft else "; what is left of it on disk is removed behind")


def counted(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"
