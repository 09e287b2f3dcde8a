"""What was purged is not gone on with: the origin may have other bytes under the same validator."""

import asyncio
from contextlib import aclosing, suppress

import pytest

from edgecache.core.errors import UpstreamError, VersionChanged
from edgecache.core.index import StoredResponse
from edgecache.core.marks import Kind, Target
from edgecache.request import Answer, ObjectRequest
from tests.pattern import Pattern
from tests.stack import KEY, ROUTE, SIZE, Stack, turn

OLD, NEW = Pattern(6 * SIZE - 10, seed=1), Pattern(6 * SIZE - 10, seed=2)
TARGETS = {
    "its key": Target(Kind.KEY, KEY.key, KEY.origin),
    "a prefix of it": Target(Kind.PREFIX, "outputs/"),
    "everything": Target(Kind.ALL),
}


@pytest.fixture
async def stack() -> Stack:
    """Of which all is stored."""
    stack = Stack()
    stack.upstream.data = OLD
    assert await stack.read() == OLD.read()
    await stack.at_rest()
    return stack


def known(stack: Stack) -> StoredResponse:
    stored = stack.engine._catalog.hit(KEY)
    assert stored is not None
    return stored


async def begin(stack: Stack, version: str = "") -> Answer:
    request = ObjectRequest(method="GET", key=KEY, route=ROUTE, headers={}, version=version)
    return await stack.engine.answer(request)


async def rest_of(answer: Answer) -> bytes:
    """Up to its end, or to where it is cut."""
    assert answer.first is not None
    assert answer.body is not None
    data = bytes(answer.first[1])
    async with aclosing(answer.body):
        with suppress(VersionChanged):
            async for _, piece in answer.body:
                data += bytes(piece)
                await turn()
    return data


async def purge(stack: Stack, target: Target, *, soft: bool = False) -> None:
    catalog, meta = stack.engine._catalog, known(stack).meta
    if target.kind is Kind.KEY:
        await catalog.purge(meta.key._replace(key=target.text), soft=soft)
        return
    await catalog.mark(target, soft=soft)
    if not soft and target.matches(meta.key, meta.tags):
        catalog.discard(meta)  # as what carries marks out does


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
async def test_an_answer_that_had_begun_is_cut_where_its_bytes_end(
    stack: Stack, target: Target
) -> None:
    answer = await begin(stack)
    stack.upstream.data = NEW
    await purge(stack, target)
    data = await rest_of(answer)
    assert data == OLD.read(0, len(data))
    assert len(data) < OLD.length
    await stack.at_rest()
    assert await stack.read() == NEW.read()
    await stack.at_rest()
    assert not stack.leftovers()


async def test_so_is_one_whose_next_bytes_were_asked_for_before(stack: Stack) -> None:
    stack.store.discard(known(stack).version, range(1, 6))
    answer = await begin(stack)
    asked = stack.upstream.steps
    async with asyncio.TaskGroup() as tasks:
        rest = tasks.create_task(rest_of(answer))
        while stack.upstream.steps == asked:
            await turn()
        stack.upstream.data = NEW
        await purge(stack, TARGETS["its key"])
    assert rest.result() == OLD.read(0, SIZE)
    await stack.at_rest()
    assert not stack.leftovers()


@pytest.mark.parametrize(
    ("target", "soft"),
    [
        (TARGETS["its key"], True),
        (TARGETS["everything"], True),
        (Target(Kind.KEY, "outputs/other.mp4", KEY.origin), False),
        (Target(Kind.PREFIX, "inputs/"), False),
        (Target(Kind.TAG, "season"), False),
    ],
    ids=["soft", "soft, everything", "another key", "another prefix", "a tag it has not"],
)
async def test_what_takes_no_bytes_of_it_cuts_nothing(
    stack: Stack, target: Target, soft: bool
) -> None:
    stack.store.discard(known(stack).version, range(3, 6))
    answer = await begin(stack)
    await purge(stack, target, soft=soft)
    assert await rest_of(answer) == OLD.read()
    await stack.at_rest()
    assert not stack.leftovers()


async def test_one_that_wants_the_rest_of_a_version_gets_no_other(stack: Stack) -> None:
    version = known(stack).version
    assert await rest_of(await begin(stack, version)) == OLD.read()
    await purge(stack, TARGETS["its key"])
    with pytest.raises(UpstreamError):
        await begin(stack, version)
    assert await rest_of(await begin(stack)) == OLD.read()
    assert known(stack).version != version
    await stack.at_rest()


async def test_a_version_that_the_origin_has_no_more_is_nobodys_even_if_memory_forgot_it(
    stack: Stack,
) -> None:
    stored = known(stack)
    stack.engine._catalog.forget()
    catalog = stack.engine._catalog
    catalog.replaced(stored, catalog.hard_purges.count)
    await stack.at_rest()
    assert await stack.store.load_meta(KEY) is None
