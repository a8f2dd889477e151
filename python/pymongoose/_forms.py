"""Forms that came whole: application/x-www-form-urlencoded and multipart/form-data as one kind of mapping."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from ._errors import FormError

if TYPE_CHECKING:
    from ._core import HttpMessage

T = TypeVar("T")

MAX_FIELDS: Final = 1000

URLENCODED: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file in a form.

    Attributes:
        filename: what the client called it. Anything can stand here, ``../../etc/passwd`` too: it is no path (see safe_filename).
        content_type: what the client says it is; ``"application/octet-stream"`` when it says nothing (RFC 7578 4.4).
        size: bytes.
        data: the content, of a form that was collected in memory; else b"".
        path: where the content is, of an upload to a folder; else None.
        headers: all header lines of the part.
        sink: what ``to(part)`` returned, of an upload to callbacks; else None.
    """

    filename: str
    content_type: str
    size: int
    data: bytes = field(default=b"", repr=False)
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    sink: object = field(default=None, repr=False, compare=False)


Value: TypeAlias = "str | FormFile"


class Form(Mapping[str, "str | FormFile"]):
    """Names and values of a form, in order; a name can come more than once.

    File inputs that were left empty are not there. As a mapping it gives the first value of each name: str for a field, FormFile for a file. Text is UTF-8, with U+FFFD for what is none.
    """

    def __init__(self, items: list[tuple[str, Value]]) -> None:
        self._items = items
        self._first: dict[str, Value] = {}
        for name, value in items:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> Value:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def all(self, name: str) -> list[Value]:
        """All values of that name, in order."""
        return [v for n, v in self._items if n == name]

    @property
    def pairs(self) -> list[tuple[str, Value]]:
        """Everything, as it came."""
        return list(self._items)

    @property
    def fields(self) -> dict[str, list[str]]:
        """Plain fields by name, as HttpMessage.params has it for queries."""
        out: dict[str, list[str]] = {}
        for name, value in self._items:
            if isinstance(value, str):
                out.setdefault(name, []).append(value)
        return out

    @property
    def files(self) -> dict[str, list[FormFile]]:
        """Files by name of their field."""
        out: dict[str, list[FormFile]] = {}
        for name, value in self._items:
            if isinstance(value, FormFile):
                out.setdefault(name, []).append(value)
        return out

    def __repr__(self) -> str:
        return f"<Form {self._items!r}>"


def parse_urlencoded(data: bytes, max_fields: int = MAX_FIELDS) -> list[tuple[str, str]]:
    """Names and values of a query or a form body, exactly as the WHATWG URL standard has it (5.1).

    Split at ``&``, empty pieces left out, each at its first ``=``; ``+`` is a space; ``%`` without two hex digits stays as it is; UTF-8,
    with U+FFFD for what is none. ``;`` separates nothing.

    Raises:
        FormError: more than max_fields (413).
    """
    pieces = [piece for piece in data.split(b"&") if piece]
    if len(pieces) > max_fields:
        raise FormError(413, f"the form has more than {max_fields} fields")
    out = []
    for piece in pieces:
        name, _, value = piece.partition(b"=")
        out.append((_decode(name), _decode(value)))
    return out


def _decode(data: bytes) -> str:
    return unquote_to_bytes(data.replace(b"+", b" ")).decode("utf-8", "replace")


def parse_multipart(content_type: str, body: bytes, max_fields: int = MAX_FIELDS) -> Form:
    """A whole multipart/form-data body (RFC 7578).

    Raises:
        FormError: 400, 413 or 415.
    """
    from . import _core

    parser = _core.MultipartParser(content_type, max_fields)
    items: list[tuple[str, Value]] = []
    head: tuple[str, str | None, str | None, list[tuple[str, str]]] | None = None
    pieces: list[bytes] = []
    for event in parser.feed(body):
        if isinstance(event, tuple):
            head, pieces = event, []
        elif event is not None:
            pieces.append(event)
        elif head is not None and not (head[1] == "" and not pieces):  # no file was chosen
            items.append((head[0], part_value(head, b"".join(pieces))))
    parser.finish()
    return Form(items)


def part_value(
    head: tuple[str, str | None, str | None, list[tuple[str, str]]], data: bytes
) -> Value:
    _, filename, content_type, headers = head
    if filename is None:
        return data.decode("utf-8", "replace")
    kind = content_type or "application/octet-stream"
    return FormFile(filename, kind, len(data), data, headers=tuple(headers))


def form_of(message: HttpMessage) -> Form:
    """HttpMessage.form."""
    content_type = message.header("Content-Type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == URLENCODED:
        return Form(list(parse_urlencoded(message.body_bytes)))
    if kind == "multipart/form-data":
        return parse_multipart(content_type, message.body_bytes)
    if not kind and not message.body:
        return Form([])
    raise FormError(415, f"{kind or 'a body without Content-Type'} is no form")


_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def safe_filename(name: str, default: str = "file") -> str:
    """A name that a file may have in any folder on any system, made of what a client said.

    Only what stands behind the last ``/`` or ``\\`` is used; control characters and ``<>:"|?*`` go, and so do dots and spaces at both ends;
    names that Windows keeps for devices get a ``_`` in front; at most 200 bytes of UTF-8, the extension kept. What has nothing left is
    ``default``. Two names may become one: whoever makes a file must still use ``"x"`` mode.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name.replace("\ufffd", "_")))[-1]
    name = "".join(
        c
        for c in name
        if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in '<>:"|?*'
    ).strip(". ")
    if not name:
        return default
    if _RESERVED.fullmatch(name):
        name = "_" + name
    stem, dot, ext = name.rpartition(".")
    if len(name.encode()) > 200:
        tail = dot + ext if stem and len(ext.encode()) <= 20 else ""
        stem = (
            (stem if tail else name).encode()[: 200 - len(tail.encode())].decode("utf-8", "ignore")
        )
        name = stem.rstrip(". ") + tail
    return name
