"""The two questions of an app's author: can browsers read it directly, and what would be saved.

Rule of this module: pure; from what was learnt, the prices, and what an access log says was sent.
"""

from dataclasses import dataclass

from edgecache.config import Costs
from edgecache.config_quirks import Quirks
from edgecache.core.units import format_size
from edgecache.doctor.finding import milliseconds
from edgecache.doctor.patient import Learnt

GB = 10**9
EXAMPLE = 1000 * GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What clients were sent, and how much of it was different bytes."""

    sent: int
    distinct: int

    @property
    def saved(self) -> float:
        return 1 - self.distinct / self.sent if self.sent else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    direct: bool | None  # None: not found out
    access: str
    savings: str
    dollars_without: float
    dollars_with: float


def verdict(learnt: Learnt, costs: Costs, traffic: Traffic | None) -> Verdict:
    """Dollars are for the traffic, or for 1000 GB that are all read from the store once."""
    sent, distinct = (traffic.sent, traffic.distinct) if traffic else (EXAMPLE, EXAMPLE)
    direct, words = access(learnt)
    without = sent / GB * (costs.origin + (0 if direct else costs.app_platform))
    instead = sent / GB * costs.host + distinct / GB * costs.origin
    return Verdict(
        direct=direct,
        access=words,
        savings=savings(traffic, without, instead, learnt),
        dollars_without=round(without, 4),
        dollars_with=round(instead, 4),
    )


def access(learnt: Learnt) -> tuple[bool | None, str]:
    if learnt.public is None and learnt.presigned is None:
        return None, "Not known: nothing could be read."
    if not (learnt.public or learnt.presigned):
        return False, (
            "No: the objects are private and presigned URLs do not work, so every byte goes "
            "through a server that has the keys. edgecache is that server."
        )
    how = "the objects are public" if learnt.public else "by presigned URLs, which the app makes"
    scripts = "scripts too" if learnt.cors else "but not scripts, players with hls.js or canvas"
    return True, (
        f"Yes: {how}; images and video, {scripts}. edgecache is not needed for that: it saves "
        "reads of the store, and the time they take."
    )


def savings(traffic: Traffic | None, without: float, instead: float, learnt: Learnt) -> str:
    if traffic is None:
        what = "1000 GB to viewers"
        most = "at most " if instead else ""
    else:
        what = (
            f"The {format_size(traffic.sent)} of the log are {format_size(traffic.distinct)} of "
            f"different bytes, so {traffic.saved:.0%} need not be read again. They"
        )
        most = ""
    otherwise = (
        "read directly" if learnt.public or learnt.presigned else "through the app's platform"
    )
    text = (
        f"{what} cost ${without:.2f} {otherwise} and {most}${instead:.2f} through edgecache, "
        "by costs.*"
    )
    if learnt.first_byte is not None:
        text += f"; what it has is spared the {milliseconds(learnt.first_byte)} to the first byte"
    return f"{text}."


def quirks(learnt: Learnt) -> Quirks:
    """What serving can use of it."""
    return Quirks(
        path_safe=learnt.path_safe,
        connections=learnt.connections,
        if_match=learnt.if_match,
        if_none_match=learnt.if_none_match,
        suffix_range=learnt.suffix_range,
    )
