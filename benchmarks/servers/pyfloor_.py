"""The floor (limit/pyfloor.c). Options: flags events, as in its source."""

import sys

import pyfloor
from _common import HELLO, PORT


def handler(conn, ev, data):
    if ev == 7:
        conn.reply(200, HELLO)


pyfloor.serve(PORT, handler, *map(int, sys.argv[3:]))
