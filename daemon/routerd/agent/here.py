"""The service manager of this machine."""

from __future__ import annotations

import shutil
import sys

from .launchd import Launchd
from .manager import AgentError, Manager
from .systemd import Systemd


def manager() -> Manager:
    """launchd on macOS, systemd where there is one. Raises `AgentError` where there is neither."""
    if sys.platform == "darwin":
        return Launchd()
    if shutil.which("systemctl"):
        return Systemd()
    raise AgentError("neither launchd nor systemd is here. Run it under a service manager of your own: routerd serve")
