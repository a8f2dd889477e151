"""For pytest under a preloaded sanitizer: of the programs that tests start, only Python gets the sanitizer's runtime."""

import os
import sys

os.environ.pop("LD_PRELOAD", None)
sys.executable = os.environ["SANITIZED_PYTHON"]
