"""Each of S3's errors, explained; none of its words repeated."""

import pytest

from edgecache.core.reply import DENIED_HINTS
from edgecache.doctor.probe import Heard
from edgecache.doctor.refusals import HINTS, advice, refusal, words


def heard(status: int, code: str = "", message: str = "", **fields: str) -> Heard:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else message
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Heard(status=status, fields=named, body=body.encode(), seconds=0)


@pytest.mark.parametrize("code", [code for code in HINTS if code])
def test_every_code_that_is_known_has_its_advice(code: str) -> None:
    assert advice(heard(403, code)) == HINTS[code]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (heard(403, message="error code: 1010"), "user_agent"),
        (heard(403), DENIED_HINTS[""]),
        (heard(403, "Unheard"), DENIED_HINTS["AccessDenied"]),
        (heard(401, "AccessDenied"), DENIED_HINTS["AccessDenied"]),
        (heard(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"), "set region: eu-west-1"),
        (heard(307), "the bucket is elsewhere"),
        (heard(400, "InvalidArgument", "object not found"), "check the key"),
        (heard(404), "check the key"),
        (heard(404, "NoSuchBucket"), "check bucket"),
        (heard(429), "slow down"),
        (heard(503), "slow down"),
        (heard(502), "try again later"),
        (heard(524), "try again later"),
        (heard(418), "not what S3 answers"),
    ],
)
def test_advice(answer: Heard, hint: str) -> None:
    assert hint in advice(answer)


def test_the_origins_words_are_not_repeated() -> None:
    answer = heard(403, "SignatureDoesNotMatch", "StringToSign AWS4 secret")
    finding = refusal(answer, "refused")
    assert words(answer) == "403 SignatureDoesNotMatch"
    assert finding.text == "refused: 403 SignatureDoesNotMatch"
    assert "AWS4" not in finding.text + finding.hint
