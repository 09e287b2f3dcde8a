"""What only writing shows: keys that need escapes, kept types, objects that are replaced.

Rule of this module: everything is put under one prefix of its own, and is removed again, also when
the command is stopped in the middle.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote

from edgecache.core.errors import EdgecacheError
from edgecache.doctor.finding import Finding, note, ok, problem, skipped
from edgecache.doctor.patient import Patient
from edgecache.doctor.probe import Heard
from edgecache.doctor.reading import SAFE
from edgecache.doctor.refusals import advice, words
from edgecache.upstream import object_url

log = logging.getLogger("edgecache.doctor")

CHARACTERS = {"=": "=", "#": "#", " ": "space", "+": "+", "é": "UTF-8"}
WRITTEN = (200, 201, 204)
CLEARING = 20.0  # seconds, for removing what was put
TYPE = "image/webp"


@dataclass(slots=True)
class Sandbox:
    patient: Patient
    prefix: str = field(default_factory=lambda: f"edgecache-doctor/{secrets.token_hex(4)}/")
    put: list[str] = field(default_factory=list)  # URLs, of what may be there

    async def write(self, name: str, data: bytes) -> Heard:
        url = object_url(self.patient.origin, self.prefix + name)
        new = url not in self.put
        if new:
            self.put.append(url)  # before it is sent: a request that is cut may have been heard
        heard = await self.patient.probe.send("PUT", url, {"Content-Type": TYPE}, body=data)
        if new and 400 <= heard.status < 500:
            self.put.remove(url)
        return heard

    async def read(self, name: str) -> Heard:
        return await self.patient.probe.get(self.prefix + name)

    async def clear(self) -> list[str]:
        """What could not be removed."""
        left: list[str] = []
        for url in self.put:
            try:
                async with asyncio.timeout(CLEARING / max(1, len(self.put))):
                    heard = await self.patient.probe.send("DELETE", url)
                removed = heard.status in (200, 204, 404)
            except (EdgecacheError, TimeoutError):
                removed = False
            if not removed:
                left.append(url)
        self.put = left
        return left


async def writing(patient: Patient) -> Finding:
    if not patient.origin.signs:
        return skipped("there are no keys to sign with")
    sandbox = Sandbox(patient)
    try:
        finding = await tested(sandbox)
    except EdgecacheError as error:
        finding = problem(f"below {sandbox.prefix}: {error.message}", error.hint or "try again")
    finally:
        left = await cleared(sandbox)
    if left:
        hint = f"remove it by hand: {', '.join(left)}"
        return problem(f"{len(left)} objects could not be removed", hint, left=left)
    return finding


async def cleared(sandbox: Sandbox) -> list[str]:
    """To the end, whoever stops the rest."""
    clearing = asyncio.gather(sandbox.clear())
    try:
        await asyncio.shield(clearing)
    finally:
        (left,) = await clearing
        if left:  # a command that was stopped shows no findings
            log.warning("could not be removed: %s", ", ".join(left))
    return left


async def tested(sandbox: Sandbox) -> Finding:
    heard = await sandbox.write("replaced.webp", b"first")
    if heard.status not in WRITTEN:
        return unwritten(sandbox, heard)
    trouble = await replaced(sandbox)
    lost, literal = await unreached(sandbox)
    if literal:
        safe = "".join(sorted(set(literal) | set(sandbox.patient.origin.path_safe)))
        sandbox.patient.learnt.path_safe = safe
        text = f"escapes of {' '.join(literal)} are taken literally"
        hint = f"set origins.<name>.path_safe: {safe!r}, or use --write-profile"
        return problem(text, hint, prefix=sandbox.prefix, safe=safe)
    if lost:
        text = f"keys with {', '.join(CHARACTERS[one] for one in lost)} can't be read"
        return problem(text, "give objects other names", prefix=sandbox.prefix)
    if trouble is not None:
        return trouble
    names = ", ".join(CHARACTERS.values())
    text = f"replaced objects, their type, keys with {names}: all well, and removed again"
    return ok(text, prefix=sandbox.prefix)


def unwritten(sandbox: Sandbox, heard: Heard) -> Finding:
    text = f"PUT {sandbox.prefix}: {words(heard)}"
    return problem(text, advice(heard), prefix=sandbox.prefix)


async def replaced(sandbox: Sandbox) -> Finding | None:
    first = await sandbox.read("replaced.webp")
    heard = await sandbox.write("replaced.webp", b"second")
    if heard.status not in WRITTEN:
        return unwritten(sandbox, heard)
    second = await sandbox.read("replaced.webp")
    if (first.body, second.body) != (b"first", b"second"):
        hint = "answers are old for a while: keep freshness.ttl above that, or use new names"
        return problem("what is replaced does not show at once", hint, prefix=sandbox.prefix)
    if first.fields.get("etag") == second.fields.get("etag"):
        hint = "versions can't be told apart: use new names for new content"
        return problem("the ETag stays when the object changes", hint, prefix=sandbox.prefix)
    if second.fields.get("content-type") != TYPE:
        got = second.fields.get("content-type", "none")[:40]
        hint = "edgecache tells the type by the extension"
        return note(f"the type is not kept: {TYPE} became {got}", hint, prefix=sandbox.prefix)
    return None


async def unreached(sandbox: Sandbox) -> tuple[list[str], list[str]]:
    """Characters whose keys can't be read back; and those whose escapes the store does not decode:
    it then reads back what it wrote, but not under the name that others see."""
    lost: list[str] = []
    literal: list[str] = []
    for character in CHARACTERS:
        name = f"a{character}b.txt"
        wrote = await sandbox.write(name, character.encode())
        if wrote.status not in WRITTEN:
            lost.append(character)
            continue
        if (await sandbox.read(name)).body != character.encode():
            lost.append(character)
        elif await is_literal(sandbox, character, name):
            literal.append(character)
    settled = [one for one in literal if one in SAFE]
    return lost + [one for one in literal if one not in SAFE], settled


async def is_literal(sandbox: Sandbox, character: str, name: str) -> bool:
    """Whether what was written as `name` has the escape in its name: then it is found by that."""
    escape = quote(character, safe="")
    if character in sandbox.patient.origin.path_safe:
        return False
    return (await sandbox.read(name.replace(character, escape))).body == character.encode()
