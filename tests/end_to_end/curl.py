"""curl, and what it was answered."""

from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from tests.end_to_end.programs import run


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    fields: Message  # names in any case
    body: bytes

    @property
    def cache_status(self) -> str:
        return str(self.fields["Cache-Status"])


def curl(*arguments: str | Path) -> Got:
    """One transfer that curl finds nothing wrong with."""
    # -q: no ~/.curlrc. curl fails when a body is shorter or longer than it was announced.
    done = run(
        "curl", "-q", "--silent", "--show-error", "--max-time", "20", "--include", *arguments
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    return Got(int(line.split()[1]), message_from_bytes(fields), body)
