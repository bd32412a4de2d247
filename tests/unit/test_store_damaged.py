"""Ledgers that somebody else has written to: whatever is in them, the daemon has one, and money stays closed."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routerd.app.journal import Journal  # noqa: F401 - the ledger's rows are made by it
from routerd.dispatch.purse import Purse
from routerd.store import money
from routerd.store.ledger import Ledger
from routerd.store.measured import Measurements
from routerd.store.sound import expected
from routerd.store.writer import Store
from routerd_client.protocol import Decisions, Stats
from tests.support.fuzzing import fuzzed
