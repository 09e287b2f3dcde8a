"""SigV4, and whose keys sign. Rule of this module: the signature covers exactly the wire's bytes,
and finding or renewing credentials never holds the event loop.

Only host and x-amz-* are signed; Range, If-*, Accept-Encoding and User-Agent are added after
signing, because what stands before the store may rewrite them.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from edgecache.config import Origin
from edgecache.core.errors import UpstreamDenied

log = logging.getLogger("edgecache.signing")

# Seconds from one search for credentials, or attempt to renew them, to the next.
PAUSE = 10.0


class Signer:
    """Of requests to one origin; of one that is read without credentials it adds nothing."""

    def __init__(self, origin: Origin, *, passing: Callable[[], float] = time.monotonic) -> None:
        self._region = origin.region
        self._keys: Credentials | None = None
        self._aws: AwsCredentials | None = None
        if origin.credentials != "keys":
            self._aws = AwsCredentials(origin.profile, passing)
        elif origin.access_key:
            self._keys = Credentials(
                origin.access_key,
                origin.secret_key.get_secret_value(),
                origin.session_token.get_secret_value() or None,
            )
            # botocore's first signature takes 10 ms: at the start rather than in a request.
            sign(self._keys, self._region, AWSRequest("GET", "http://warm/"))

    async def headers(self, method: str, url: str, body: bytes = b"") -> dict[str, str]:
        """What to send besides.

        :raises UpstreamDenied: no credentials were found.
        """
        if (keys := await self._current()) is None:
            return {}
        request = AWSRequest(method=method, url=url, data=body)
        sign(keys, self._region, request)
        return dict(request.headers.items())

    async def presigned(self, url: str, seconds: int) -> str:
        """A URL that needs no header. It is a secret for as long.

        :raises UpstreamDenied: no credentials were found.
        """
        if (keys := await self._current()) is None:
            return url
        request = AWSRequest(method="GET", url=url)
        S3SigV4QueryAuth(keys, "s3", self._region, expires=seconds).add_auth(request)
        return str(request.url)

    async def _current(self) -> Any:
        return self._keys if self._aws is None else await self._aws.get()


def sign(keys: Any, region: str, request: AWSRequest) -> None:
    S3SigV4Auth(keys, "s3", region).add_auth(request)


class AwsCredentials:
    """Those that AWS's own tools would use: AWS_* variables, ~/.aws, a role of the machine's.

    Temporary ones are renewed some minutes before they end, by one request for all.
    """

    def __init__(self, profile: str, passing: Callable[[], float]) -> None:
        self._profile = profile
        self._passing = passing
        self._source: Any = None
        self._keys: Any = None
        self._problem = ""
        self._again = 0.0  # not looked for before
        self._lock = asyncio.Lock()

    async def get(self) -> Any:
        if self._due():
            async with self._lock:
                if self._due():
                    await self._renew()
        if self._keys is None:
            raise UpstreamDenied("no AWS credentials", hint=self._problem)
        return self._keys

    def _due(self) -> bool:
        if self._passing() < self._again:
            return False
        return self._keys is None or bool(
            hasattr(self._source, "refresh_needed") and self._source.refresh_needed()
        )

    async def _renew(self) -> None:
        try:
            self._source, self._keys = await asyncio.to_thread(self._look)
        except Exception as error:  # botocore's, and whatever a plugin or a service throws
            self._problem = f"{type(error).__name__}: {error}"[:300]
            log.warning("AWS credentials cannot be found or renewed: %s", self._problem)
        finally:
            self._again = self._passing() + PAUSE

    def _look(self) -> tuple[Any, Any]:
        source = self._source
        if source is None:
            source = Session(profile=self._profile or None).get_credentials()
        if source is None:
            raise LookupError("neither AWS_* variables nor ~/.aws nor a role of this machine's")
        return source, source.get_frozen_credentials()
