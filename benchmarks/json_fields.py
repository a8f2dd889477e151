"""What does one field out of a JSON document cost, against tools that parse all of it?

Three sizes, the wanted object first or last. Ours does not build the document, nor check what
comes after the field.
"""

import contextlib
import json
import os
import timeit


def tools():
    """name -> (number, string) extractors; those that are not installed are left out."""
    found = {}
    with contextlib.suppress(ImportError):
        from pymongoose import json_get_num as our_num
        from pymongoose import json_get_str as our_str

        found["pymongoose"] = (
            lambda d: our_num(d, "$.user.id"),
            lambda d: our_str(d, "$.user.name"),
        )
    with contextlib.suppress(ImportError):
        from cymongoose import json_get_num as cy_num
        from cymongoose import json_get_str as cy_str

        found["cymongoose"] = (lambda d: cy_num(d, "$.user.id"), lambda d: cy_str(d, "$.user.name"))
    with contextlib.suppress(ImportError):
        import orjson

        found["orjson.loads"] = _by_key(orjson.loads)
    with contextlib.suppress(ImportError):
        import simdjson

        parser = simdjson.Parser()
        found["pysimdjson"] = (
            lambda d: parser.parse(d).at_pointer("/user/id"),
            lambda d: parser.parse(d).at_pointer("/user/name"),
        )
    with contextlib.suppress(ImportError):
        import msgspec

        user = msgspec.defstruct("User", [("id", int), ("name", str)])
        document = msgspec.defstruct("Document", [("user", user)])
        typed = msgspec.json.Decoder(document)
        found["msgspec"] = _by_key(msgspec.json.Decoder().decode)
        found["msgspec typed"] = (
            lambda d: typed.decode(d).user.id,
            lambda d: typed.decode(d).user.name,
        )
    found["json.loads"] = _by_key(json.loads)
    return found


def _by_key(loads):
    return lambda d: loads(d)["user"]["id"], lambda d: loads(d)["user"]["name"]


def document(size, first):
    user, rest = {"user": {"id": 12345, "name": "Ada Lovelace"}}, {"items": []}
    while len(json.dumps({**user, **rest})) < size - 40:
        have = len(rest["items"])
        more = range(have, have + (1 if size < 100_000 else 2000))
        rest["items"] += [{"sku": f"A-{i}", "n": i, "tags": ["x", "y"]} for i in more]
    return json.dumps(
        {**user, **rest} if first else {**rest, **user}, separators=(",", ":")
    ).encode()


def microseconds(extract, doc):
    timer = timeit.Timer(lambda: extract(doc))
    count = max(1, int(0.1 / max(timer.timeit(3) / 3, 1e-7)))
    return min(timer.repeat(5, count)) / count * 1e6


def main():
    os.sched_setaffinity(0, {0})
    contestants = tools()
    print(
        "| document | field | "
        + " | ".join(contestants)
        + " |\n|"
        + "---|" * (2 + len(contestants))
    )
    for size, label in ((200, "200 B"), (10_240, "10 KiB"), (1 << 20, "1 MiB")):
        for first in (True, False):
            doc, cells = document(size, first), []
            for number, string in contestants.values():
                if (number(doc), string(doc)) != (12345, "Ada Lovelace"):
                    raise SystemExit("a tool found something else")
                pair = (microseconds(number, doc), microseconds(string, doc))
                cells.append(" / ".join(f"{x:,.2f}" if x < 100 else f"{x:,.0f}" for x in pair))
            where = "first" if first else "last"
            print(f"| {label} ({len(doc):,} B) | {where} | {' | '.join(cells)} |", flush=True)
    print("\nMicroseconds for a number / a string, best of 5, calls through a lambda included.")


if __name__ == "__main__":
    main()
