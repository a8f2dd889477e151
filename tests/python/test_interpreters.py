"""Other interpreters of the process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
try:
    import _interpreters as interpreters
except ModuleNotFoundError:
    import _xxsubinterpreters as interpreters
if {first}:
    import pymongoose
code = '''
try:
    import pymongoose
except ImportError:
    print("refused", flush=True)
'''
interpreter = interpreters.create()
interpreters.run_string(interpreter, code)
interpreters.destroy(interpreter)
import pymongoose
pymongoose.Manager().close()
print("works")
"""


def test_a_subinterpreter_is_refused_at_once_and_the_main_one_works_on() -> None:
    for first in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(first=first)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "refused\nworks\n"
