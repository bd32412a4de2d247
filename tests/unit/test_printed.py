"""What a worker's libraries print is kept, and read as its last words."""

from __future__ import annotations

import subprocess
import sys

from routerd.worker.printed import MOST, reading_prints

ENDS = """
import os
from routerd.worker.printed import print_to_stderr
print_to_stderr()
os.system("echo from below")
print("from above")
os._exit(1)
"""


def test_all_that_is_printed_goes_to_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr.split("\n")) == ("", ["from below", "from above", ""])


def test_the_last_of_it_is_kept() -> None:
    with reading_prints() as printed:
        print("x" * MOST)
        print("install\n  what is missing")
    assert printed.text.endswith("x install what is missing")
    assert len(printed.text) <= MOST
