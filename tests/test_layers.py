"""Imports go down only: who may import whom, inside the package and outside it."""

import ast
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edgecache"

# What each module may import of edgecache, `edgecache.` left out. Every module but those of core
# may also import core; the version (edgecache/__init__.py) is everyone's. A module that is not
# here is on no layer yet: put it on one.
VALUES = "config metrics tasks"
ALLOWED = {
    "__init__": "",
    "__main__": "cli",
    # Commands
    "cli": "cli.demo cli.doctor cli.explain cli.purge cli.serve cli.verify cli.warm",
    "cli.verify": "cli.admin_client config store.files store.folder store.verifying",
    "cli.doctor": "cli.admin_client cli.doctor_show cli.stopping cli.warm_items config "
    "doctor.checkup doctor.patient doctor.report doctor.verdict",
    "cli.doctor_show": "cli.explain doctor.checkup doctor.finding doctor.report",
    "cli.explain": "cli.admin_client",
    "cli.purge": "cli.admin_client",
    "cli.demo": "cli.serve cli.stopping demo demo.report demo.samples demo.stage demo.stats "
    "web.app",
    "cli.warm": "cli.admin_client cli.stopping cli.warm_drive cli.warm_items cli.warm_show config",
    "cli.warm_show": "cli.warm_drive",
    "cli.warm_items": "cli.warm_drive config listing",
    "cli.warm_drive": "",
    "cli.stopping": "",
    "cli.admin_client": "cli.serve config",
    "cli.serve": "config processes",
    # The processes of a server
    "processes": "board config config_fixed cpus descriptors families memory process reloads "
    "shared store.folder supervisor web.app web.listening web.worker",
    "process": "config memory supervisor",
    # The demo is a user of the product, from outside
    "demo": "",
    "demo.stage": "demo.bucket demo.report demo.script demo.settings demo.stats demo.visit web.app",
    "demo.report": "demo.samples demo.settings demo.stats",
    "demo.visit": "demo.script demo.stats",
    "demo.script": "demo.samples",
    "demo.settings": "config config_fetch config_listen demo.bucket",
    "demo.bucket": "",
    "demo.samples": "",
    "demo.stats": "",
    # The wiring (web.app, web.service, web.worker): where concrete classes are named.
    "web": "",
    "web.app": "board catalog fill generations purger readahead shared store store.disk "
    "store.space uses web.accesslog web.admin web.listening web.protocol web.relayed web.routing "
    f"web.service {VALUES}",
    "web.service": "catalog engine fill generations hits lookup origins passthrough readahead "
    "store stream upstream warm web.accesslog web.delivery web.explaining web.fast web.hot "
    f"web.own_head web.routing web.warming {VALUES}",
    "web.worker": "board generations hits local shared shelf store store.disk store.reader uses "
    "web.accesslog web.delivery web.fast web.hot web.listening web.own_head web.peer web.protocol "
    f"web.relay web.routing web.worker_delivery {VALUES}",
    "web.worker_delivery": "request web.delivery web.exchange web.relay",
    "web.listening": "config_listen",
    "web.admin": "metrics origins purger store web.explaining web.purging",
    "web.explaining": "catalog engine fill lookup store stream web.purging web.routing",
    "web.warming": "warm web.purging",
    "web.purging": "metrics purger",
    "web.relay": "tasks web.exchange web.keeper web.peer web.refusal",
    "web.relayed": "config_listen metrics web.peer web.protocol",
    "web.keeper": "web.peer",
    "web.protocol": "config_listen descriptors metrics web.fast web.forwarded web.peer web.untaken",
    "web.untaken": "",
    "web.fast": "hits metrics store tally web.accesslog web.exchange web.hot web.own_head "
    "web.routing",
    "web.hot": "generations store web.exchange web.own_head",
    "web.delivery": "config metrics request web.accesslog web.exchange web.own_head web.peer "
    "web.refusal web.routing",
    "web.accesslog": f"{VALUES}",
    "web.refusal": "web.exchange web.own_head",
    "web.exchange": "store web.peer",
    "web.forwarded": "",
    "web.peer": "",
    "web.own_head": "",
    "web.routing": "config",
    "purger": "catalog metrics store",
    # The story of a request
    "engine": "body catalog lookup metrics passthrough request stream",
    "warm": "catalog lookup origins request store stream",
    "local": "body hits request shelf slice_buffer store store.reader",
    "shelf": "generations store.reader",
    "hits": "request scratch store",
    "body": "request",
    "passthrough": "lookup metrics request slice_buffer upstream",
    "lookup": "catalog origins request stream tasks upstream",
    "stream": "catalog fill origins readahead request resumed slice_buffer store tasks upstream",
    "readahead": "fill",
    "scratch": "",
    "request": "store",
    "origins": "attempts config_fetch metrics resumed turn_queue upstream",
    "resumed": "upstream",
    "attempts": "config_fetch metrics tasks turn_queue upstream",
    "catalog": "fill generations metrics store tasks untold",
    "turn_queue": "",
    "untold": "",
    # The doctor asks an origin as serving does, and in ways of its own
    "doctor.report": "config_quirks doctor.checkup doctor.finding doctor.patient doctor.verdict",
    "doctor.checkup": "doctor doctor.access doctor.browsers doctor.finding doctor.network "
    "doctor.patient doctor.probe doctor.reading doctor.refusals doctor.speed doctor.validators "
    "doctor.writing",
    "doctor.writing": "doctor.finding doctor.patient doctor.probe doctor.reading doctor.refusals "
    "upstream",
    "doctor.access": "doctor.finding doctor.patient doctor.probe doctor.refusals upstream",
    "doctor.reading": "doctor.finding doctor.patient doctor.probe doctor.refusals upstream",
    "doctor.validators": "doctor.finding doctor.patient doctor.refusals",
    "doctor.browsers": "doctor.finding doctor.patient doctor.refusals upstream",
    "doctor.speed": "doctor.finding doctor.patient doctor.probe doctor.refusals upstream",
    "doctor.network": "config_origin doctor.finding doctor.patient upstream",
    "doctor.verdict": "config config_quirks doctor.finding doctor.patient",
    "doctor.refusals": "doctor.finding doctor.probe",
    "doctor.patient": "config config_fetch doctor.probe upstream",
    "doctor.probe": "config config_fetch signing upstream",
    "doctor.finding": "",
    "doctor": "",
    # Adapters: none knows another's side
    "upstream": "config config_fetch config_quirks signing",
    "signing": "config",
    "listing": "config config_fetch",
    "fill": "slice_buffer tasks",
    "slice_buffer": "",
    "store.disk": "descriptors memory store store.disk_rows store.files store.folder store.index "
    "store.lingering store.open_slice store.opening store.room store.rows store.spare_rows "
    "store.upkeep store.writer store.wrong_slices tasks",
    "store.disk_rows": "store store.folder store.rows store.writer",
    "store.spare_rows": "store.folder store.writer tasks",
    "store.upkeep": "store.folder store.index store.writer tasks",
    "store.room": "store.files store.lingering store.open_slice store.writer",
    "store.reader": "store.files store.open_slice store.opening store.row_reader",
    "store.verifying": "store.files store.row_lister store.slice_check",
    "store.slice_check": "store.slice_format",
    "store.row_lister": "store.index_files store.index_rows store.meta_format store.rows",
    "store.row_reader": "store.files store.index_files store.index_rows store.mark_format "
    "store.meta_format store.rows",
    "store.opening": "store.files store.open_slice",
    "store.memory": "store",
    "store.writer": "store.folder tasks",
    "store.wrong_slices": "store.files",
    "store.open_slice": "store store.at_once store.files store.slice_format",
    "store.folder": "store.files store.index store.index_files store.index_rows store.packed_rows "
    "store.slice_format",
    "store.packed_rows": "store.files store.index_files store.index_rows",
    "store.index": "store store.index_files store.index_rows store.mark_format store.mark_rows "
    "store.meta_format store.rows",
    "store.index_files": "store.files",
    "store.index_rows": "store.mark_format store.mark_rows store.rows",
    "store.mark_rows": "store store.mark_format store.meta_format",
    "store.files": "store.at_once store.slice_format store.verified",
    "store.at_once": "",
    "store.verified": "",
    "store.rows": "",
    "store.lingering": "",
    "store.space": "",
    "store.slice_format": "",
    "store.meta_format": "",
    "store.mark_format": "",
    "store": "",
    # The parent of several processes: it knows nothing of what they do
    "shared": "board generations supervisor",
    "supervisor": "supervisor.child supervisor.limits supervisor.loop supervisor.notify "
    "supervisor.states",
    "supervisor.loop": "supervisor.child supervisor.notify supervisor.process supervisor.reload "
    "supervisor.signals supervisor.states",
    "supervisor.reload": "supervisor.process",
    "supervisor.process": "supervisor.birth supervisor.child",
    "supervisor.birth": "supervisor.child",
    "supervisor.child": "",
    "supervisor.signals": "",
    "supervisor.states": "",
    "supervisor.notify": "",
    "supervisor.limits": "",
    # Values
    "cpus": "",
    "descriptors": "",
    "uses": "",
    "generations": "",
    "config_fixed": "config config_listen",
    "metrics": "board config families reloads tally",
    "reloads": "families",
    "tally": "board families",
    "families": "board",
    "board": "",
    "tasks": "",
    "memory": "",
    "config": "config_fetch config_file config_listen config_origin config_section",
    "config_origin": "config_quirks config_section",
    "config_quirks": "config_section",
    "config_fetch": "config_section",
    "config_listen": "config_section",
    "config_section": "",
    "config_file": "",
    # Rules, from what they are made of: only these import one another
    "core": "",
    "core.answer": "core.index core.plan core.model core.ranges",
    "core.explanation": "core.accounts core.freshness core.index core.reply",
    "core.index": "core.freshness core.media_types core.model core.reply core.validators",
    "core.plan": "core.conditions core.media_types core.model core.ranges",
    "core.reply": "core.errors core.freshness core.headers core.model core.ranges core.tags "
    "core.validators",
    "core.freshness": "core.cache_control core.model core.validators",
    "core.conditions": "core.validators",
    "core.retry": "core.errors core.model",
    "core.turns": "core.model",
    "core.admission": "core.model",
    "core.failures": "core.model",
    "core.accounts": "core.marks core.model",
    "core.marks": "core.model",
    "core.ledger": "core.model core.policy",
    "core.policies": "core.lfuda core.lru core.policy",
    "core.lfuda": "core.ghosts core.model core.places core.policy",
    "core.lru": "core.model core.policy",
    "core.policy": "core.model",
    "core.requested": "core.accesslog core.errors core.keys core.model core.ranges",
    "core.ghosts": "",
    "core.places": "",
    "core.cache_status": "core.model",
    "core.ranges": "core.model",
    "core.keys": "core.errors",
    "core.accesslog": "",
    "core.breaker": "core.model",
    "core.hedging": "",
    "core.cache_control": "",
    "core.cors": "",
    "core.headers": "",
    "core.media_types": "",
    "core.readahead": "",
    "core.settling": "core.model",
    "core.tags": "",
    "core.units": "",
    "core.validators": "",
    "core.model": "",
    "core.errors": "",
}

# Who may import a library: nobody else's signature speaks of it. The longest name that fits counts.
OWNERS = {
    "aiohttp": "web.* upstream doctor.probe demo.*",
    "aiohttp.web": "web.*",
    "multidict": "web.*",
    "yarl": "upstream doctor.probe demo.*",
    "botocore": "signing listing",
    "aiobotocore": "listing",
    "diskcache": "store.rows store.index",
    "sqlite3": "store.rows store.row_reader store.row_lister store.index store.index_rows "
    "store.packed_rows",
    "xxhash": "store.slice_format store.meta_format store.mark_format",
    "prometheus_client": "metrics families",
    "pydantic": "config config_fetch config_listen config_origin config_quirks config_section "
    "demo.settings",
    "pydantic_settings": "config demo.settings",
    "yaml": "config_file",
    "typer": "cli cli.*",
    "rich": "cli.* demo.*",
    "uvloop": "cli.*",
    "moto": "demo.bucket",
}

# Core decides; it is given the time, the bytes and the settings, and does nothing by itself.
PURE = {
    "array", "bisect", "collections", "dataclasses", "datetime", "enum", "functools",
    "hashlib", "heapq", "html", "itertools", "json", "math", "operator", "re", "string", "struct",
    "typing", "urllib.parse",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "open", "print", "input", "exec", "eval", "__import__"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def parse(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """Each module that it imports, at its top or inside a function."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def longest(name: str, known: Iterable[str]) -> str:
    """The longest of the known dotted names that `name` is, or is inside of; "" if none is."""
    return max((k for k in known if f"{name}.".startswith(f"{k}.")), key=len, default="")


def own_imports(module: str) -> set[str]:
    names = {name.removeprefix("edgecache.") for name in imports(module) if is_own(name)}
    return {longest(name, SOURCES) for name in names - {"edgecache"}} - {""}


def is_own(name: str) -> bool:
    return name.split(".")[0] == "edgecache"


def owned_by(module: str, owners: str) -> bool:
    return any(fnmatch(module, owner) for owner in owners.split())


def test_every_module_has_its_layer_and_every_layer_its_module() -> None:
    assert sorted(SOURCES) == sorted(ALLOWED)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_are_the_allowed_ones(module: str) -> None:
    found = own_imports(module)
    if not module.startswith("core"):
        found = {name for name in found if not name.startswith("core.")}
    assert found - set(ALLOWED.get(module, "").split()) == set()


def test_the_layers_have_no_cycle() -> None:
    graph = {module: allowed.split() for module, allowed in ALLOWED.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names it


def test_nothing_below_imports_what_is_above() -> None:
    """The order of the table is the order of the layers."""
    order = list(ALLOWED)
    upward = [
        f"{module} -> {other}"
        for module, allowed in ALLOWED.items()
        for other in allowed.split()
        if order.index(other) < order.index(module)
    ]
    assert upward == []


@pytest.mark.parametrize("module", SOURCES)
def test_a_library_is_imported_by_its_owner_only(module: str) -> None:
    for name in imports(module):
        if library := longest(name, OWNERS):
            assert owned_by(module, OWNERS[library]), f"{module} imports {library}"
        else:
            root = name.split(".")[0]
            assert root in sys.stdlib_module_names | {"edgecache"}, f"{root} has no owner"


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("core")])
def test_core_is_pure(module: str) -> None:
    outside = {name for name in imports(module) if not name.startswith("edgecache.core")}
    assert {name for name in outside if not longest(name, PURE)} == set()
    for node in ast.walk(parse(module)):
        assert not isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.Global), module
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert called not in IMPURE_CALLS, f"{module}, line {node.lineno}: {called}()"
