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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

if sys.version_info >= (3, 11):
    from re import _constants as sre_constants
    from re import _parser as sre_parse
else:  # pragma: no cover
    import sre_constants
    import sre_parse

Event: TypeAlias = dict[str, Any]
Replace: TypeAlias = str | Callable[[str], str]


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
    "private_key": r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[\sA-Za-z0-9+/=:,-]{0,16384}?-----END [A-Z ]{0,32}PRIVATE KEY-----",
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


def _repeats_within_repeat(parsed: Any, inside: bool = False) -> bool:
    """Whether a repetition without a bound (or with a large one) lies in another: such patterns can take exponential time."""
    for op, argument in parsed:
        if op in (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT):
            _, most, body = argument
            large = most is sre_constants.MAXREPEAT or most > 64
            if (large and inside) or _repeats_within_repeat(body, inside or large):
                return True
        elif op is sre_constants.BRANCH:
            if any(_repeats_within_repeat(branch, inside) for branch in argument[1]):
                return True
        elif op is sre_constants.SUBPATTERN:
            if _repeats_within_repeat(argument[-1], inside):
                return True
        elif op in (sre_constants.ASSERT, sre_constants.ASSERT_NOT) and _repeats_within_repeat(
            argument[1], inside
        ):
            return True
    return False


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

    Values that are neither text nor number nor container are searched in their ``str()``, which takes their place when something is found.

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
        self._known: dict[str, bool] = {}  # by path: is it to be replaced; bounded

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
        keep = self._keep
        for name, value in event.items():
            if name in keep:
                continue
            kind = type(value)
            if kind is int or kind is float or kind is bool or value is None:
                if self._is_named(name):
                    event[name] = self._replaced(str(value))
                continue
            clean = self._clean(name, value, 32)
            if clean is not value:
                event[name] = clean
        return event

    def _is_named(self, path: str) -> bool:
        known = self._known.get(path)
        if known is None:
            lower = path.lower()
            last = lower.rpartition(".")[2] if "." in lower else lower
            known = bool(
                (self._names is not None and self._names.match(last))
                or (self._paths is not None and self._paths.match(lower))
            )
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[path] = known
        return known

    def _replaced(self, text: str) -> str:
        return self._replace if isinstance(self._replace, str) else self._replace(text)

    def _clean(self, path: str, value: Any, depth: int) -> Any:
        if self._is_named(path):
            return self._replaced(value if isinstance(value, str) else str(value))
        if isinstance(value, str):
            return self._clean_text(value)
        if isinstance(value, (bool, int, float)) or value is None:
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            text = bytes(value).decode("utf-8", "backslashreplace")
            clean = self._clean_text(text)
            return value if clean is text else clean
        if isinstance(value, dict) and depth:
            return {
                self._clean_key(k): self._clean(f"{path}.{k}", v, depth - 1)
                for k, v in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)) and depth:
            return [self._clean(path, v, depth - 1) for v in value]
        text = str(value)  # an object of any kind, or nested too deep to be taken apart
        clean = self._clean_text(text)
        return clean if clean is not text or not depth else value

    def _clean_key(self, key: Any) -> Any:
        return self._clean_text(key) if isinstance(key, str) else key

    def _clean_text(self, text: str) -> str:
        if len(text) > self._max_text:
            text = text[: self._max_text] + "…"
        for pattern, check in self._patterns:
            if check is None and isinstance(self._replace, str):
                text = pattern.sub(self._literal, text) if pattern.search(text) else text
            elif pattern.search(text):
                text = pattern.sub(lambda m, ok=check: self._checked(m, ok), text)  # type: ignore[misc]
        return text

    def _literal(self, _: re.Match[str]) -> str:
        return str(self._replace)

    def _checked(self, found: re.Match[str], check: Callable[[str], bool] | None) -> str:
        text = found.group()
        return self._replaced(text) if check is None or check(text) else text
