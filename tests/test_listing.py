"""A bucket's keys, from stores that list as S3 says and from ones that do not."""

from typing import Any

import pytest
from aiohttp import web
from botocore.exceptions import ClientError, EndpointConnectionError
from pytest_aiohttp import AiohttpServer

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.core.errors import UpstreamError
from edgecache.listing import ATTEMPTS, list_keys, walk
from tests.conftest import Moto

Page = dict[str, Any]


def page(*keys: str, token: str = "", more: bool = False) -> Page:
    found: Page = {"Contents": [{"Key": key} for key in keys], "IsTruncated": more or bool(token)}
    return found | {"NextContinuationToken": token} if token else found


async def no_sleep(_: float) -> None: ...


async def walked(*pages: Page | Exception, prefix: str = "") -> tuple[list[str], list[Page]]:
    """The keys of these pages, and what was asked for; the last page comes again and again."""
    asked: list[Page] = []

    async def ask(where: dict[str, str]) -> Page:
        asked.append(where)
        answer = pages[min(len(asked), len(pages)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return [key async for key in walk(ask, prefix, no_sleep)], asked


async def test_pages_follow_their_tokens() -> None:
    keys, asked = await walked(page("a", "b", token="1"), page("c", token="2"), page("d"))
    assert keys == ["a", "b", "c", "d"]
    assert asked == [{}, {"ContinuationToken": "1"}, {"ContinuationToken": "2"}]


async def test_pages_that_overlap_and_are_empty_and_out_of_order() -> None:
    keys, _ = await walked(
        page("b", "a", "b", token="1"), page(token="2"), page("a", "d", token="3"), page("c")
    )
    assert keys == ["b", "a", "d", "c"]


async def test_a_page_without_its_token_is_gone_on_from_by_the_last_key() -> None:
    keys, asked = await walked(page("a", "b", more=True), page("c"))
    assert keys == ["a", "b", "c"]
    assert asked[1] == {"StartAfter": "b"}


async def test_a_token_that_comes_twice_is_not_followed_twice() -> None:
    keys, asked = await walked(page("a", token="1"), page("b", token="1"), page("c"))
    assert keys == ["a", "b", "c"]
    assert asked[2] == {"StartAfter": "b"}


async def test_a_listing_without_end_is_ended() -> None:
    keys, asked = await walked(page("a", token="1"), page("b", token="1"))
    assert keys == ["a", "b"]
    assert len(asked) < 10


async def test_new_tokens_for_ever_are_an_end_too() -> None:
    asked = 0

    async def ask(_: dict[str, str]) -> Page:
        nonlocal asked
        asked += 1
        return page("a", token=str(asked))

    assert [key async for key in walk(ask, "", no_sleep)] == ["a"]
    assert asked < 10


async def test_what_is_no_object_is_left_out() -> None:
    keys, _ = await walked(page("a/", ".s3compat_uploads/x/1", "a//b", "../c", "a/b", ""))
    assert keys == ["a/b"]


async def test_a_prefix_that_is_ignored_holds_all_the_same() -> None:
    keys, _ = await walked(page("a", "outputs/b"), prefix="outputs/")
    assert keys == ["outputs/b"]


def refusal(status: int) -> ClientError:
    answer = {
        "Error": {"Code": "Oops", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "ListObjectsV2")  # type: ignore[arg-type, unused-ignore]


GONE = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


@pytest.mark.parametrize("error", [refusal(502), refusal(524), refusal(429), GONE, TimeoutError()])
async def test_what_passes_is_tried_again(error: Exception) -> None:
    keys, asked = await walked(page("a", token="1"), error, error, page("b"))
    assert keys == ["a", "b"]
    assert asked[1:] == [{"ContinuationToken": "1"}] * 3


@pytest.mark.parametrize(
    ("error", "attempts"), [(refusal(403), 1), (refusal(500), ATTEMPTS), (GONE, ATTEMPTS)]
)
async def test_what_does_not_is_told(error: Exception, attempts: int) -> None:
    asked = []

    async def ask(where: dict[str, str]) -> Page:
        asked.append(where)
        raise error

    with pytest.raises(UpstreamError, match="cannot be listed"):
        _ = [key async for key in walk(ask, "", no_sleep)]
    assert len(asked) == attempts


async def test_a_real_listing(moto: Moto) -> None:
    origin = Origin(
        endpoint=moto.endpoint,
        bucket=moto.bucket,
        access_key=moto.access_key,
        secret_key=moto.secret_key,  # type: ignore[arg-type]
    )
    keys = ["outputs/a b+%ä.png", "outputs/clip.mp4", "outputs/folder/"]
    for key in [*keys, "private/a"]:
        moto.put(key, b"x")
    listed = [key async for key in list_keys(origin, Fetch(), "outputs/")]
    assert listed == keys[:2]


async def test_a_listing_as_runpod_writes_it(aiohttp_server: AiohttpServer) -> None:
    """XML without a namespace; `encoding-type` is an error; nothing is signed without keys."""
    queries = []

    async def answer(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        assert "Authorization" not in request.headers
        if "encoding-type" in request.query:
            return web.Response(status=400)
        more = "continuation-token" not in request.query
        end = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        return web.Response(
            content_type="application/xml",
            text='<?xml version="1.0"?><ListBucketResult><Contents>'
            f"<Key>outputs/{'a&amp;b' if more else 'c'}</Key></Contents>"
            f"{end if more else ''}</ListBucketResult>",
        )

    application = web.Application()
    application.router.add_get("/volume", answer)
    server = await aiohttp_server(application)
    origin = Origin(endpoint=str(server.make_url("")), bucket="volume")
    listed = [key async for key in list_keys(origin, Fetch(), "outputs/")]
    assert listed == ["outputs/a&b", "outputs/c"]
    assert [query.get("continuation-token") for query in queries] == [None, "t"]
