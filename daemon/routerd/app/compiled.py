"""A routes.yaml that is ready to be used: read, checked, compiled, its own tests run."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import structlog
from msgspec import Struct
from msgspec.structs import replace

from .. import disk
from ..config.load import ConfigFailedError, Loaded, contained, load, load_file
from ..config.report import WHOLE_FILE, Place, Report
from ..routing.classify.learned import Classifier, decode
from ..routing.expect import run_tests
from ..routing.table import Table, compile_table
from ..spend.fresh import newest
from ..spend.price import Prices
from ..spend.tariff import Tariffs, tariffs

log = structlog.get_logger()

CLASSIFIER = "classifier.msgpack"
JUDGE = "judge.msgpack"
"""In the state directory: the learned scorer and the judge of cascades, which ``routerctl calibrate`` writes."""

MOST_LEARNED = 64 * 1024 * 1024
"""The bytes that one of them may have."""
VERSION_S, COMPILE_S = 2.0, 10.0
"""How long the disk may take to say whether a configuration is another, and to read it and what it names."""

LARGE = 50_000
"""Objects that take 10 ms to walk through; a file of 800 routes has as many."""


class Compiled(Struct, frozen=True):
    """``notes`` are what a person should know that is no mistake of the file."""

    loaded: Loaded
    table: Table
    prices: Prices
    tariffs: Tariffs
    personas: dict[str, str]
    notes: list[str]


def compile_file(path: Path, state: Path) -> Compiled:
    """The file at ``path``, with what was learned in ``state``. Blocks on the disk. Raises `ConfigFailedError`."""
    with _uncollected(), contained(str(path)):
        return _compile(load_file(path), str(path), state)


def compile_text(text: str, file: str, state: Path) -> Compiled:
    """The same for a file's text, which messages call ``file``."""
    with contained(file):
        return _compile(load(text, file, os.environ), file, state)


async def compiled_file(path: Path, state: Path) -> Compiled:
    """Do `compile_file` off the loop. Raises `ConfigFailedError` whatever goes wrong, a hanging disk included."""
    # A file that is saved anew does not wait for what the one before it hangs in.
    return await _compiled(str(path), compile_file, path, state, key=f"{path} {await _version(path)}")


async def compiled_text(text: str, file: str, state: Path) -> Compiled:
    """Do `compile_text` off the loop in the same way."""
    return await _compiled(file, compile_text, text, file, state, key=f"{file} {hash(text)}")


async def _compiled(file: str, work: Callable[..., Compiled], *arguments: object, key: str) -> Compiled:
    try:
        return await disk.run(work, *arguments, what=file, within=COMPILE_S, key=key)
    except ConfigFailedError as error:
        if error.__cause__ and not isinstance(error.__cause__, OSError | UnicodeError):
            log.error("config.unusable", file=file, exc_info=error.__cause__)
        raise
    except disk.DiskError as error:
        report = Report(file)
        where = cast("Place | None", getattr(error, "mark", None))
        report.add(where or WHOLE_FILE, str(error))
        raise ConfigFailedError(report.sorted()) from error


async def _version(path: Path) -> object:
    try:
        return await disk.run(_stamp, path, what=path, within=VERSION_S)
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, ...]:
    info = path.stat()
    return info.st_ino, info.st_mtime_ns, info.st_size


@contextmanager
def _uncollected() -> Iterator[None]:
    """No collection of garbage while a file is read: one that walks through the objects of a large file stops all
    threads for 50 ms. What came of a large one is never walked through either; there are no cycles in it. Where it
    is small that is not worth it: whatever else is alive at that moment would be left out too."""
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > LARGE:
            gc.freeze()
        gc.enable()


def without_preload(compiled: Compiled) -> Compiled:
    """The same, but every model is loaded on its first request."""
    config = compiled.loaded.config
    backends = {
        name: replace(spec, mlx=replace(spec.mlx, preload=False)) if spec.mlx else spec
        for name, spec in config.backends.items()
    }
    return replace(compiled, loaded=replace(compiled.loaded, config=replace(config, backends=backends)))


def _compile(loaded: Loaded, file: str, state: Path) -> Compiled:
    notes: list[str] = []
    learned, judge = _learned(state / CLASSIFIER, notes), _learned(state / JUDGE, notes)
    # Without a learned scorer, `learned` means the rules; without a judge, a cascade's answers are taken as they are.
    table = compile_table(loaded.config, {"learned": learned.rate} if learned else {}, judge.rate if judge else None)
    run_tests(loaded, table, file)
    prices = newest(datetime.now(UTC))
    costs = tariffs(loaded.config, prices)
    return Compiled(_warned(loaded, costs, file), table, prices, costs, loaded.personas, notes)


def _warned(loaded: Loaded, costs: Tariffs, file: str) -> Loaded:
    """With a warning of each backend that will be denied, or whose quota cannot be counted, because nobody knows what
    it costs."""
    report, backends = Report(file), loaded.tree.get("backends")
    assert backends
    for name, spec in loaded.config.backends.items():
        if why := costs.unpriced(name):
            report.add(backends.marks[name], f"backends.{name} cannot be used: {why}")
        elif costs.own[name].price is None and any(quota.usd is not None for quota in spec.quota):
            what = "its quota in dollars cannot be counted: nobody knows what its tokens cost"
            report.add(backends.marks[name], f"backends.{name}: {what}", "give it a price")
    return replace(loaded, warnings=[*loaded.warnings, *report.sorted()])


def _learned(path: Path, notes: list[str]) -> Classifier | None:
    try:
        return decode(disk.read(path, MOST_LEARNED))
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever is in it
        why = f"{disk.reason(error)}; it is not used until routerctl calibrate has made a new one"
        notes.append(f"{path}: {why}")
        return None
