"""Programs for which closed files are closed: for root none is."""

from __future__ import annotations

import os
import shutil

import pytest

RIGHTS = "-dac_override,-dac_read_search"


def without_rights() -> list[str]:
    """Return what starts a program that may not read closed files. Skips where root cannot give that up."""
    if os.getuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("a file is closed to root with Linux's setpriv only")
    return ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"]
