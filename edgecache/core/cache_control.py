"""Cache directives, RFC 9111 §5.2 and RFC 9213. Rule of this module: of two readings the one that
caches less wins, and a directive that is not understood changes nothing."""

import re

MAX_DELTA_SECONDS = 2**31  # RFC 9111 §1.2.2

# One directive's argument as seconds: 0 where it has none or it is no delta-seconds.
Directives = dict[str, int]

MEMBER = re.compile(r'((?:[^",]++|"(?:[^"\\]|\\.)*+")*+)(?:,|\Z)')
# RFC 9111 §5.2: an argument comes as a token or quoted, and nothing stands around "=". What is
# spelled otherwise is no delta-seconds; that the directive is there counts all the same.
NAME = re.compile(r"[^\s=]+")
SECONDS = re.compile(r'[^\s=]+=(?P<quote>")?(?P<seconds>[0-9]+)(?(quote)")')


def parse_delta_seconds(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return MAX_DELTA_SECONDS if len(digits) > 10 else min(int(digits), MAX_DELTA_SECONDS)


def parse_cache_control(value: str) -> Directives:
    """The directives of Cache-Control, lower-case; of a repeated one the smallest (§4.2.1).

    `no-cache="set-cookie"` counts as `no-cache`, and so does `private="..."`: the qualified forms
    are rarely implemented as specified (§5.2.2.4), and the plain ones are the stricter reading.
    """
    directives: Directives = {}
    for member in map(str.strip, split_members(value)):
        if name := NAME.match(member):
            found = SECONDS.fullmatch(member)
            seconds = (parse_delta_seconds(found["seconds"]) or 0) if found else 0
            key = name[0].lower()
            directives[key] = min(seconds, directives.get(key, seconds))
    return directives


def split_members(value: str) -> list[str]:
    """Split at commas outside quoted strings; after a quote that never ends, at every comma."""
    members: list[str] = []
    position = 0
    while position < len(value):
        if (found := MEMBER.match(value, position)) is None:
            return [*members, *value[position:].split(",")]
        members.append(found[1])
        position = found.end()
    return members


_KEY = r"[a-z*][a-z0-9_.*-]*+"
_BARE = (
    r"(?>-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|\?[01]|:[A-Za-z0-9+/=]*:"
    r'|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'
    r"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*+)"
)
_PARAMETERS = rf"(?:;\x20*+{_KEY}(?:={_BARE})?)*+"
_ITEM = _BARE + _PARAMETERS
_INNER_LIST = rf"\(\x20*+(?:{_ITEM}(?:\x20++{_ITEM})*+)?\x20*+\){_PARAMETERS}"
DICTIONARY_MEMBER = re.compile(
    rf"(?P<key>{_KEY})(?:=(?:(?P<value>{_BARE}){_PARAMETERS}|(?P<inner>{_INNER_LIST}))|{_PARAMETERS})"
)
DICTIONARY_COMMA = re.compile(r"[ \t]*+,[ \t]*+")

# RFC 9213 §2.1: the types of the directives that mean something here.
INTEGER = re.compile(r"-?[0-9]+")
TRUE = re.compile(r"\?1")
TRUE_OR_STRING = re.compile(r'\?1|".*"|[A-Za-z*].*')
TYPES = {
    "max-age": INTEGER,
    "s-maxage": INTEGER,
    "stale-while-revalidate": INTEGER,
    "stale-if-error": INTEGER,
    "no-store": TRUE,
    "must-revalidate": TRUE,
    "proxy-revalidate": TRUE,
    "must-understand": TRUE,
    "no-cache": TRUE_OR_STRING,
    "private": TRUE_OR_STRING,
}


def parse_targeted(value: str) -> Directives | None:
    """The directives of CDN-Cache-Control, or None: the field is to be ignored (RFC 9213 §2.2).

    It is a Structured Field: malformed, empty, or with a known directive of a wrong type, the
    whole of it says nothing. Parameters are dropped, the last of a repeated key counts (RFC 8941).
    """
    members = parse_dictionary(value)
    if not members:
        return None
    if any(not TYPES[key].fullmatch(members[key]) for key in TYPES.keys() & members.keys()):
        return None
    return {key: parse_delta_seconds(argument) or 0 for key, argument in members.items()}


def parse_dictionary(value: str) -> dict[str, str] | None:
    """RFC 8941 §4.2.2: key to its value as spelled ("?1" for none); None: a parsing error."""
    text = value.strip(" ")
    members: dict[str, str] = {}
    position = 0
    while found := DICTIONARY_MEMBER.match(text, position):
        members[found["key"]] = found["value"] or found["inner"] or "?1"
        if found.end() == len(text):
            return members
        if (comma := DICTIONARY_COMMA.match(text, found.end())) is None:
            return None
        position = comma.end()
    return {} if not text else None
