"""Redaction: what must not be written down is taken out of events, wherever it is in them.

By the name of a field, by a pattern in any text, or by a preset, which is a set of both. Patterns are searched in linear time: those with
a repetition inside a repetition are refused, and of a text longer than a bound only so much is kept.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final, TypeAlias
from uuid import UUID

from ._encode import _Walk, fields_of, key_text, shown, str_of_int

if sys.version_info >= (3, 11):
    from re import _constants as sre_constants
    from re import _parser as sre_parse
else:  # pragma: no cover
    import sre_constants
    import sre_parse

Event: TypeAlias = dict[str, Any]
Replace: TypeAlias = str | Callable[[str], str]

_ANY: Final = "any"  # what numbers are searched for
_CARDS: Final = "cards"
_MARGIN: Final = 256  # characters beyond the bound that are searched
_MANY: Final = 10_000  # longer containers of foreign types go as text
_KEPT: Final = frozenset([bytes, bytearray, date, datetime, time, timedelta, Decimal, UUID])
_NAMESPACES: Final = frozenset([SimpleNamespace, Namespace])
# As repr() shows fields: password='x', "password": 'x', ('password', 'x')
_NAME_IN_TEXT: Final = re.compile(
    r"""(?<![\w.-])([\w.-]{1,1024})\s{0,8}=(?!=)"""
    r"""|['"]([^'"\\]{1,1024})['"][\s,\d)}>\]]{0,16}:"""
    r"""|\(b?['"]([^'"\\]{1,1024})['"],"""
)


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    packed = text.replace(" ", "").upper()
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {"card": _luhn, "iban": _iban}

PATTERNS: Final[Mapping[str, str]] = {
    "email": r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])",
    "card": r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])",
    "iban": r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)",
    "ssn": r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])",
    "phone": r"(?<![\w.+-])\+\d(?:[ ().-]{0,2}\d){7,14}(?!\w)",
    "ipv4": r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.])",
    "jwt": r"(?<![\w-])eyJ[\w-]{5,2048}\.[\w-]{5,8192}\.[\w-]{5,2048}",
    "bearer": r"(?i:\b(?:bearer|basic|digest|token)\s{1,8})[A-Za-z0-9+/._~=-]{8,4096}",
    "url_password": r"(?<=://)[^\s/@:]{0,256}:[^\s/@]{1,256}(?=@)",
    "aws_key": r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",
    "private_key": r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[\s\\A-Za-z0-9+/=:,-]{0,16384}?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|…|\Z)",
}
"""Named patterns. ``card`` and ``iban`` count only when their check digits are right."""

_SECRETS: Final = (
    "*password*",
    "*passwd*",
    "*passphrase*",
    "*secret*",
    "*token*",
    "*api_key*",
    "*apikey*",
    "*api-key*",
    "*private_key*",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "*session_id*",
    "*csrf*",
)
_PERSON: Final = (
    "email",
    "*_email",
    "phone",
    "*_phone",
    "*address",
    "first_name",
    "last_name",
    "full_name",
    "birth*",
    "date_of_birth",
    "ssn",
    "passport*",
    "iban",
)
_CARD: Final = ("*card_number*", "cvv", "cvc", "cvv2", "pan", "*expiry*", "*cardholder*")
_HEALTH: Final = (
    "*diagnosis*",
    "*medical*",
    "mrn",
    "*patient*",
    "*insurance*",
    "*prescription*",
)

PRESETS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "credentials": (
        _SECRETS,
        ("jwt", "bearer", "url_password", "aws_key", "private_key"),
    ),
    "pii": (_PERSON, ("email", "phone", "ssn", "iban", "card")),
    "pci": (_CARD, ("card",)),
    "gdpr": (_PERSON, ("email", "phone", "iban", "ipv4")),
    "hipaa": ((*_PERSON, *_HEALTH), ("email", "phone", "ssn", "ipv4")),
}
"""Name: the fields and the named patterns it stands for."""


_REPEATS: Final = [
    getattr(sre_constants, name)
    for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
    if hasattr(sre_constants, name)  # of Python 3.10, the third is not
]


def _repeats_within_repeat(parsed: Any, inside: bool = False) -> bool:
    """Whether a repetition of no fixed number lies in one without a bound (or with a large one): such patterns can take exponential time."""
    for op, argument in parsed:
        if op in _REPEATS:
            least, most, body = argument
            large = most is sre_constants.MAXREPEAT or most > 64
            varies = large or (most > 1 and most != least)
            if (varies and inside) or _repeats_within_repeat(body, inside or large):
                return True
        elif any(_repeats_within_repeat(part, inside) for part in _parts_of(argument)):
            return True
    return False


def _parts_of(argument: Any) -> list[Any]:
    """The patterns within what sre says of a group, a branch, an assertion or a condition."""
    if isinstance(argument, sre_parse.SubPattern):
        return [argument]
    if isinstance(argument, (tuple, list)):
        return [part for each in argument for part in _parts_of(each)]
    return []


def masked(keep: int = 4, char: str = "*") -> Callable[[str], str]:
    """For ``Redact(replace=...)``: everything but the last ``keep`` characters becomes ``char``; short texts wholly."""
    if keep < 0:
        raise ValueError(f"keep must be >= 0, not {keep!r}")

    def mask(text: str) -> str:
        shown = keep if len(text) > 2 * keep else 0
        return char * (len(text) - shown) + text[len(text) - shown :]

    return mask


def hashed(key: bytes | str, length: int = 16) -> Callable[[str], str]:
    """For ``Redact(replace=...)``: the same text becomes the same hexadecimal digits (HMAC-SHA256), so that events can still be correlated."""
    secret = key.encode() if isinstance(key, str) else bytes(key)
    if not secret:
        raise ValueError("key must not be empty")
    if not 8 <= length <= 64:
        raise ValueError(f"length must be 8 to 64 digits, not {length!r}")

    def digest(text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        return hmac.new(secret, data, hashlib.sha256).hexdigest()[:length]

    return digest


class Redact:
    """Take secrets and personal data out of events: ``Redact(["*.token", "user.email"], presets=["credentials"])``.

    Args:
        fields: names of fields, in any case, at any depth; ``*`` and ``?`` stand for characters. One with a dot is a path from the top
            (``user.email``, ``*.token``). The whole value is replaced, whatever it is.
        patterns: regular expressions, or names of PATTERNS, whose matches are replaced in every text of the event, in the message, in
            keys of nested dicts and in lists too.
        presets: of PRESETS: ``credentials``, ``pii``, ``pci``, ``gdpr``, ``hipaa``.
        replace: a text, or a function from what was found to a text, as ``masked()`` and ``hashed()``.
        keep: names of top-level fields that are left alone; ``ts`` and ``level`` always are.
        max_text: characters of a text that are searched; of a longer one only these are kept, with ``…`` behind them.

    What counts is what will be written, whatever the type: dataclasses, named tuples, enumerations and mappings of any kind are looked into like
    dicts, keys of any type have the name they are written with, and of a key with dots each part is a name, too. A tuple of two in a list, the
    first being text, is a name and its value, as lists of headers have them. Other objects are searched in their ``str()``, which takes their place;
    where it shows a field of a hidden name (``password='…'``, ``'password': …``), all of it is replaced. Numbers are searched, too: for patterns
    of your own, and for cards when they begin with 2 to 6, as those do. What is nested deeper than 32 levels or in itself becomes ``…``.

    Raises:
        ValueError: an unknown preset, a pattern that does not compile or may take exponential time.
    """

    def __init__(
        self,
        fields: Iterable[str] = (),
        *,
        patterns: Iterable[str] = (),
        presets: Iterable[str] = (),
        replace: Replace = "[redacted]",
        keep: Iterable[str] = (),
        max_text: int = 65_536,
    ) -> None:
        if max_text < 1:
            raise ValueError(f"max_text must be at least 1, not {max_text!r}")
        names = [fields] if isinstance(fields, str) else list(fields)
        wanted = [patterns] if isinstance(patterns, str) else list(patterns)
        for preset in [presets] if isinstance(presets, str) else presets:
            if preset not in PRESETS:
                raise ValueError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
            names.extend(PRESETS[preset][0])
            wanted.extend(PRESETS[preset][1])
        self._patterns = [self._compile(p) for p in dict.fromkeys(wanted)]
        self._names = self._globs(n for n in names if "." not in n)
        self._paths = self._globs(n for n in names if "." in n)
        self._replace = replace
        self._keep = frozenset([*keep, "ts", "level"])
        self._max_text = max_text
        given = [p for p in wanted if p not in PATTERNS]
        self._in_numbers = _ANY if given else _CARDS if "card" in wanted else ""
        self._top: dict[str, tuple[bool, str]] = {}  # of top-level names that are left alone
        self._known: dict[tuple[str, str], tuple[bool, str]] = {}  # see _about(); bounded

    @staticmethod
    def _compile(pattern: str) -> tuple[re.Pattern[str], Callable[[str], bool] | None]:
        if pattern in PATTERNS:
            return re.compile(PATTERNS[pattern]), _CHECKS.get(pattern)
        try:
            compiled = re.compile(pattern)
            slow = _repeats_within_repeat(sre_parse.parse(pattern))
        except re.error as e:
            raise ValueError(f"pattern {pattern!r}: {e}") from None
        if slow:
            raise ValueError(
                f"pattern {pattern!r} repeats a repetition: it may take exponential time"
            )
        return compiled, None

    @staticmethod
    def _globs(names: Iterable[str]) -> re.Pattern[str] | None:
        found = [fnmatch.translate(name.lower()) for name in names]
        return re.compile("|".join(found)) if found else None

    def __call__(self, event: Event) -> Event:
        renamed: dict[Any, str] = {}
        keep, top = self._keep, self._top
        for name, value in event.items():
            kind = type(value)
            plain = kind is int or kind is float or kind is bool or value is None
            if name in keep and (plain or kind is str or name != "ts"):
                continue
            about = top.get(name) if type(name) is str else None
            if about is None:
                about = self._about("", name)
                if type(name) is str and about == (False, name) and len(top) < 4096:
                    top[name] = about
                elif about[1] != name or type(name) is not str:
                    renamed[name] = about[1]
            named, key = about
            if named and name not in keep:
                event[name] = self._hidden(value)
            elif plain:
                if self._in_numbers and (kind is int or kind is float):
                    event[name] = self._clean_number(value)
            elif kind is str:
                if self._patterns or len(value) > self._max_text:
                    event[name] = self._clean_text(value)
            else:
                try:
                    event[name] = self._clean(key, value, 32, None)
                except Exception as e:  # noqa: BLE001  (of somebody's object, which goes)
                    event[name] = f"<{kind.__name__}: {type(e).__name__}>"
        return {renamed.get(k, k): v for k, v in event.items()} if renamed else event

    def _about(self, path: str, key: Any) -> tuple[bool, str]:
        """Whether the field at this path is replaced, and its key as it may be written."""
        place = (path, key)
        is_text = type(key) is str  # others may be equal and not the same, as 1 and True
        if is_text and (known := self._known.get(place)) is not None:
            return known
        name = key_text(key)
        about = (
            any(self._is_named(path, each) for each in {name, *_names_in(key)}),
            self._clean_text(name),
        )
        if is_text and len(path) + len(name) <= 1024:
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[place] = about
        return about

    def _is_named(self, path: str, name: str) -> bool:
        name = name.lower()
        if self._names is not None and any(
            self._names.match(each) for each in {name, *name.split(".")}
        ):
            return True
        whole = f"{path.lower()}.{name}" if path else name
        return self._paths is not None and self._paths.match(whole) is not None

    def _replaced(self, text: str) -> str:
        return self._replace if isinstance(self._replace, str) else self._replace(text)

    def _hidden(self, value: Any) -> str:
        """In the place of a field that is not to be seen."""
        return self._replace if isinstance(self._replace, str) else self._replace(_text(value))

    def _clean(self, path: str, value: Any, depth: int, walk: _Walk | None) -> Any:
        """A value as it may be written, in types that every encoder and every sink writes alike."""
        kind = type(value)
        if kind is str:
            return self._clean_text(value)
        if kind is int or kind is float:
            return self._clean_number(value) if self._in_numbers else value
        if isinstance(value, Enum):
            return self._clean(path, value.value, depth - 1, walk) if depth > 0 else "…"
        if isinstance(value, str):
            return self._clean_text(str.__str__(value))
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return self._clean_number(value)
        pairs, items = (
            (list(value.items()), None)
            if kind is dict
            else (None, value)
            if kind is list
            else _opened(value)
        )
        if pairs is None and items is None:
            return self._clean_object(path, value)
        walk = _Walk() if walk is None else walk
        if depth <= 0 or id(value) in walk.above or walk.left < 0:
            return "…"
        walk.left -= len(pairs or items or ())
        walk.above.add(id(value))
        try:
            if pairs is None:
                return [self._clean_item(path, each, depth - 1, walk) for each in items or ()]
            out: dict[str, Any] = {}
            for key, each in pairs:
                about = self._known.get((path, key)) if type(key) is str else None
                named, name = about or self._about(path, key)
                if named:
                    out[name] = self._hidden(each)
                elif type(each) is str:
                    out[name] = self._clean_text(each)
                else:
                    out[name] = self._clean(f"{path}.{name}", each, depth - 1, walk)
            return out
        finally:
            walk.above.discard(id(value))

    def _clean_item(self, path: str, value: Any, depth: int, walk: _Walk) -> Any:
        """An entry of a list; a pair may be a name and its value, as in lists of headers."""
        if type(value) is tuple and len(value) == 2 and isinstance(value[0], (str, bytes)):
            named, name = self._about(path, value[0])
            if named:
                return [name, self._hidden(value[1])]
        return self._clean(path, value, depth, walk)

    def _clean_object(self, path: str, value: Any) -> Any:
        """What is written as text. Those that cannot change stay what they are when there is nothing in them to hide."""
        text = _text(value)
        if (self._names or self._paths) and type(value) not in _KEPT:
            for found in _NAME_IN_TEXT.finditer(text, 0, self._max_text + _MARGIN):
                if self._about(path, found[found.lastindex or 1])[0]:
                    return self._replaced(text)
        clean = self._clean_text(text)
        return value if clean == text and type(value) in _KEPT else clean

    def _clean_number(self, value: float) -> Any:
        if type(value) is not int and type(value) is not float:  # what is written is the number
            value = int.__int__(value) if isinstance(value, int) else float.__float__(value)
        if not self._in_numbers or (self._in_numbers is _CARDS and abs(value) < 10**12):
            return value
        text = str_of_int(value) if isinstance(value, int) else repr(value)
        if self._in_numbers is _CARDS and text[0] not in "23456":
            return value
        clean = self._clean_text(text)
        return value if clean == text else clean

    def _clean_text(self, text: str) -> str:
        if not self._patterns and len(text) <= self._max_text:
            return text
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # so are lone surrogates written
        if len(text) > self._max_text:  # what is cut in two is still found, and no half of it kept
            text = self._searched(text[: self._max_text + _MARGIN])
            return text[: max(min(self._max_text, len(text) - _MARGIN), 0)] + "…"
        return self._searched(text)

    def _searched(self, text: str) -> str:
        for pattern, check in self._patterns:
            if pattern.search(text) is None:
                continue
            if check is None and isinstance(self._replace, str):
                text = pattern.sub(self._literal, text)
            else:
                text = pattern.sub(lambda m, ok=check: self._checked(m, ok), text)  # type: ignore[misc]
        return text

    def _literal(self, _: re.Match[str]) -> str:
        return str(self._replace)

    def _checked(self, found: re.Match[str], check: Callable[[str], bool] | None) -> str:
        text = found.group()
        return self._replaced(text) if check is None or check(text) else text


def _text(value: Any) -> str:
    """A value of any type as text, the one that encode() writes where it writes one."""
    if isinstance(value, (set, frozenset)):
        value = list(value)
    text = shown(value)
    return text if isinstance(text, str) else str(text)


def _names_in(key: Any) -> list[str]:
    return [key_text(each) for each in key] if isinstance(key, (tuple, frozenset)) else []


def _opened(value: Any) -> tuple[list[tuple[Any, Any]] | None, list[Any] | None]:
    """What is in a container of any kind: its keys and values, or its items. Neither: it is none."""
    if isinstance(value, (str, bytes, bytearray, memoryview, range)):
        return None, None
    try:
        if isinstance(value, dict):
            return list(dict.items(value)), None
        if type(value) in _NAMESPACES:
            return list(vars(value).items()), None
        if isinstance(value, Sequence) and isinstance(getattr(value, "_fields", None), tuple):
            return list(zip(value._fields, value, strict=True)), None  # type: ignore[attr-defined]  # a named tuple, a row
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return None, list(value)
        if hasattr(type(value), "__dataclass_fields__"):
            return fields_of(value), None
        if isinstance(value, Mapping):
            return list(value.items()), None
        if isinstance(value, (Sequence, AbstractSet, MappingView)) and len(value) <= _MANY:
            return None, [*value]  # type: ignore[misc]
    except Exception:  # noqa: BLE001  (of somebody's container: it goes as text)
        return None, None
    return None, None
