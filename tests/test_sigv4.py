"""The verifier accepts Amazon's published examples, botocore's signatures, and nothing else."""

from calendar import timegm
from collections.abc import Mapping
from dataclasses import replace
from time import strptime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from tests.sigv4 import Credentials, Refused, SentRequest, verify

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
AMAZON = Credentials(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"
)
MAY_24_2013 = timegm((2013, 5, 24, 0, 0, 0))
ORIGIN = Credentials("user_a", "rps_b", "EU-RO-1")
HOST = "127.0.0.1:9000"
TARGET = "/bucket/outputs/a%20b%3D%23%2B(1)%21%C3%A9.mp4?x-id=GetObject&a=%2F"
RANGE = {"range": "bytes=0-9"}
MISMATCH, DENIED = "403 SignatureDoesNotMatch", "403 AccessDenied"
URL = f"http://{HOST}{TARGET}"


def amazon_request(
    method: str, target: str, signature: str, fields: dict[str, str], body: bytes = b""
) -> SentRequest:
    """An example of "Authenticating Requests: Using the Authorization Header" in S3's API."""
    host = {"host": "examplebucket.s3.amazonaws.com"}
    headers = host | {"x-amz-content-sha256": EMPTY, "x-amz-date": "20130524T000000Z"} | fields
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}"
    )
    pairs = [*headers.items(), ("authorization", authorization)]
    return SentRequest(method=method, target=target, headers=pairs, body=body)


GET_OBJECT = amazon_request(
    "GET",
    "/test.txt",
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    {"range": "bytes=0-9"},
)
PUT_OBJECT = amazon_request(
    "PUT",
    "/test%24file.text",
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    {
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    },
    b"Welcome to Amazon S3.",
)
GET_LIFECYCLE = amazon_request(
    "GET", "/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", {}
)
LIST_OBJECTS = amazon_request(
    "GET",
    "/?max-keys=2&prefix=J",
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    {},
)


@pytest.mark.parametrize("request_", [GET_OBJECT, PUT_OBJECT, GET_LIFECYCLE, LIST_OBJECTS])
def test_amazons_own_examples_pass(request_: SentRequest) -> None:
    verify(request_, AMAZON, MAY_24_2013)


def boto_request(
    credentials: Credentials = ORIGIN, fields: Mapping[str, str] | None = None
) -> SentRequest:
    request = AWSRequest(method="GET", url=URL, headers=dict(fields or {}))
    keys = BotoCredentials(credentials.access_key, credentials.secret_key)
    S3SigV4Auth(keys, "s3", credentials.region).add_auth(request)
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return SentRequest(method="GET", target=TARGET, headers=[("host", HOST), *headers])


def sent_at(request: SentRequest) -> float:
    return timegm(strptime(request.value("x-amz-date"), "%Y%m%dT%H%M%SZ"))


def changed(request: SentRequest, name: str, value: str | None) -> SentRequest:
    others = [one for one in request.headers if one[0] != name]
    return replace(request, headers=others if value is None else [*others, (name, value)])


def refusal(request: SentRequest, *, skew: float = 0.0) -> str:
    with pytest.raises(Refused) as refused:
        verify(request, ORIGIN, sent_at(boto_request()) + skew)
    return f"{refused.value.status} {refused.value.code}"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (changed(boto_request(), "authorization", None), "401 AccessDenied"),
        (
            replace(boto_request(), target="/bucket/a?X-Amz-Signature=0", headers=[]),
            "401 AccessDenied",
        ),
        (
            changed(boto_request(), "authorization", "Basic YTpi"),
            "400 AuthorizationHeaderMalformed",
        ),
        (boto_request(replace(ORIGIN, access_key="user_other")), DENIED),
        (boto_request(replace(ORIGIN, secret_key="rps_other")), MISMATCH),
        (boto_request(replace(ORIGIN, region="us-east-1")), MISMATCH),
        (replace(boto_request(), method="HEAD"), MISMATCH),
        # The wire's path counts: yarl would turn %3D into = and %21 into ! on the way.
        (replace(boto_request(), target=TARGET.replace("%3D", "=")), MISMATCH),
        (replace(boto_request(), target=TARGET.replace("%21", "!")), MISMATCH),
        (replace(boto_request(), target=TARGET.partition("?")[0]), MISMATCH),
        (changed(boto_request(), "host", "127.0.0.1"), MISMATCH),
        (changed(boto_request(fields=RANGE), "range", "bytes=0-1048575"), MISMATCH),
        (changed(boto_request(fields=RANGE), "range", None), DENIED),
        (changed(boto_request(), "x-amz-date", None), DENIED),
        (changed(boto_request(), "x-amz-acl", "public-read"), DENIED),
        (changed(boto_request(), "x-amz-content-sha256", None), DENIED),
        (replace(boto_request(), body=b"x"), "400 XAmzContentSHA256Mismatch"),
    ],
)
def test_refused(request_: SentRequest, answer: str) -> None:
    assert refusal(request_) == answer


def test_the_region_is_the_same_in_either_case() -> None:
    request = boto_request(replace(ORIGIN, region="eu-ro-1"))
    verify(request, ORIGIN, sent_at(request))


@pytest.mark.parametrize("skew", [-3590, 0, 3590])
def test_a_clock_within_an_hour_passes(skew: int) -> None:
    request = boto_request()
    verify(request, ORIGIN, sent_at(request) + skew)


@pytest.mark.parametrize("skew", [-3610, 3610, 86400])
def test_a_clock_beyond_an_hour_does_not(skew: int) -> None:
    assert refusal(boto_request(), skew=skew) == "403 RequestTimeTooSkewed"


@pytest.mark.parametrize("name", ["range", "accept-encoding", "user-agent"])
def test_what_a_proxy_rewrites_must_not_be_signed(name: str) -> None:
    request = boto_request(fields={name: "bytes=0-9"})
    if name == "user-agent":  # botocore never signs it, others do
        value = request.value("authorization").replace("host;", "host;user-agent;")
        request = changed(changed(request, "user-agent", "me"), "authorization", value)
    with pytest.raises(Refused, match=f"rewritten on the way: {name}"):
        verify(request, ORIGIN, sent_at(request), refuse=("range", "accept-encoding", "user-agent"))
