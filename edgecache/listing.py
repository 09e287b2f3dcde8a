"""The keys of a bucket under a prefix. Rule: a listing that lies is read for what is in it.

RunPod's repeats keys and tokens, gives empty pages, ignores the prefix, and fails now and then. So
a key is given once, whatever page it comes on; a page that fails is asked for again; and where the
next page can't be asked for, or is one that was there before, it goes on after the last key.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import botocore
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import set_list_objects_encoding_type_url

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.core.errors import BadTarget, UpstreamError
from edgecache.core.keys import checked

log = logging.getLogger("edgecache.listing")

ATTEMPTS = 6
FIRST_PAUSE = 0.5  # seconds, before the second attempt; each further one is twice as long
# Pages in a row with nothing new, and there is no end to be waited for.
MOST_IN_VAIN = 5
TEMPORARY = {408, 429}  # and 5xx

Page = dict[str, Any]
Ask = Callable[[dict[str, str]], Awaitable[Page]]


async def list_keys(origin: Origin, fetch: Fetch, prefix: str) -> AsyncIterator[str]:
    """Keys that may be asked for; directories and unfinished uploads are none.

    :raises UpstreamError: it can't be listed (further).
    """
    config = AioConfig(
        connect_timeout=fetch.connect_timeout,
        read_timeout=fetch.first_byte_timeout,
        retries={"total_max_attempts": 1},
        user_agent=origin.user_agent,
        s3={"addressing_style": origin.addressing},
        response_checksum_validation="when_required",
        **({} if origin.signs else {"signature_version": botocore.UNSIGNED}),
    )
    try:
        async with AioSession(profile=origin.profile or None).create_client(
            "s3",
            endpoint_url=origin.endpoint,
            region_name=origin.region,
            # None with `credentials: aws`: then botocore looks for them, and renews them.
            aws_access_key_id=origin.access_key or None,
            aws_secret_access_key=origin.secret_key.get_secret_value() or None,
            aws_session_token=origin.session_token.get_secret_value() or None,
            config=config,
        ) as client:
            # RunPod refuses encoding-type; keys that XML cannot hold are none of ours.
            client.meta.events.unregister(
                "before-parameter-build.s3.ListObjectsV2", set_list_objects_encoding_type_url
            )

            async def ask(where: dict[str, str]) -> Page:
                page: Page = await client.list_objects_v2(
                    Bucket=origin.bucket, Prefix=prefix, **where
                )
                return page

            async for key in walk(ask, prefix):
                yield key
    except BotoCoreError as error:  # of the client itself: no such profile
        raise UpstreamError("the origin cannot be listed", hint=str(error)[:300]) from error


async def walk(
    ask: Ask, prefix: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[str]:
    """`ask` is given what says where the page begins."""
    seen: set[int] = set()  # hashes: a million keys are 60 MB
    tokens: set[str] = set()
    where: dict[str, str] = {}
    last, in_vain = "", 0
    while True:
        page = await _attempts(ask, where, sleep)
        keys = [one["Key"] for one in page.get("Contents", ()) if one.get("Key")]
        new = [key for key in dict.fromkeys(keys) if hash(key) not in seen]
        seen.update(map(hash, new))
        for key in new:
            if key.startswith(prefix) and is_object(key):
                yield key
        last = max([last, *keys])
        in_vain = 0 if new else in_vain + 1
        token = page.get("NextContinuationToken", "")
        if not token and not page.get("IsTruncated"):
            return
        if in_vain == MOST_IN_VAIN:
            log.warning("the listing repeats itself and is taken to end here")
            return
        if token and token not in tokens:
            tokens.add(token)
            where = {"ContinuationToken": token}
        elif where != {"StartAfter": last}:
            where = {"StartAfter": last}
        else:
            log.warning("the listing says that it goes on, but not how")
            return


async def _attempts(
    ask: Ask, where: dict[str, str], sleep: Callable[[float], Awaitable[None]]
) -> Page:
    pause = FIRST_PAUSE
    for left in reversed(range(ATTEMPTS)):
        try:
            return await ask(where)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            code = error.response.get("Error", {}).get("Code", "")
            what = f"the origin cannot be listed: {status} {code}"
            if not left or not (status in TEMPORARY or status >= 500):
                raise UpstreamError(what) from error
        except (BotoCoreError, OSError, TimeoutError) as error:  # also: not XML, cut off
            if not left:
                raise UpstreamError(
                    "the origin cannot be listed", hint=f"{type(error).__name__}: {error}"[:300]
                ) from error
        await sleep(pause)
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def is_object(key: str) -> bool:
    try:
        checked(key)
    except BadTarget:
        return False
    return True
