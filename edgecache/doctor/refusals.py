"""What an answer that is no answer means, and what to do about it. Pure."""

from edgecache.core.reply import DENIED_HINTS, s3_error
from edgecache.doctor.finding import Finding, problem
from edgecache.doctor.probe import Heard

HINTS = DENIED_HINTS | {
    "NoSuchBucket": "check bucket and endpoint (RunPod: the volume's id, and its own datacenter)",
    "PermanentRedirect": "check endpoint and region: the bucket is elsewhere",
    "TemporaryRedirect": "check endpoint and region: the bucket is elsewhere",
    "InvalidBucketName": "check bucket (on RunPod the network volume's id)",
    "AllAccessDisabled": "the bucket is closed: ask the store's operator",
    "SlowDown": "it asks to slow down: set origins.<name>.connections lower, and try again",
    "NoSuchKey": "check the key: it is as in the bucket, without the bucket's name",
    "MethodNotAllowed": "check endpoint: this does not look like an S3 store",
}
ELSEWHERE = ("AuthorizationHeaderMalformed", "PermanentRedirect", "SignatureDoesNotMatch")
REDIRECTS = range(300, 400)
TOO_MANY = (429, 503)


def words(heard: Heard) -> str:
    """The status, and S3's code. Never its message, which may quote what was signed."""
    code, _ = s3_error(heard.body)
    return f"{heard.status} {code}".rstrip()


def advice(heard: Heard) -> str:
    code, message = s3_error(heard.body)
    region = heard.fields.get("x-amz-bucket-region", "")
    if region and code in ELSEWHERE:
        return f"set region: {region[:40]}"
    if b"error code: 1010" in heard.body:
        return "Cloudflare refuses what edgecache calls itself: set origins.<name>.user_agent"
    if "object not found" in message.lower():
        return HINTS["NoSuchKey"]
    if code in HINTS and code:
        return HINTS[code]
    if heard.status in (401, 403):
        return HINTS["AccessDenied" if code else ""]
    if heard.status in REDIRECTS:
        return HINTS["PermanentRedirect"]
    if heard.status in TOO_MANY:
        return HINTS["SlowDown"]
    if heard.status >= 500:
        return "the store, or what stands before it, fails: try again later, tell its operator"
    if heard.status == 404:
        return HINTS["NoSuchKey"]
    return "not what S3 answers here: check endpoint and bucket"


def refusal(heard: Heard, what: str) -> Finding:
    return problem(f"{what}: {words(heard)}", advice(heard), status=heard.status)
