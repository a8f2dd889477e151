"""What every server answers. A server file is run as: python NAME.py PORT MODE [OPTION]."""

import os
import sys

PORT = int(sys.argv[1])
MODE = sys.argv[2]  # plain json big static close ws offload offload1ms
HELLO = b"Hello, World!"  # 13 bytes
BIG = b"x" * 65536
STATIC_DIR = os.environ.get("BENCH_STATIC", "/nonexistent")  # holds big.bin, 1 MiB
POOL = int(os.environ.get("POOL", "40"))  # threads for offload; 40 is Starlette's own default
CT_TEXT, CT_JSON = "text/plain", "application/json"


def work():
    """What an offloaded request does on its pool thread."""
    if MODE == "offload1ms":
        import time

        time.sleep(0.001)
    return HELLO


def id_of(body):
    """The field a JSON request is asked for, for servers without a JSON tool of their own."""
    import orjson

    return b'{"id":%d}' % orjson.loads(body)["user"]["id"]
