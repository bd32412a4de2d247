"""A routes.yaml that is ready to be used: read, checked, compiled, its own tests run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ..config.check_files import persona_files
from ..config.load import Loaded, load, load_file
from ..config.report import Report
from ..routing.classify.learned import BadModelError, Classifier, decode
from ..routing.expect import run_tests
from ..routing.table import Table, compile_table
from ..spend.fresh import newest
from ..spend.price import Prices
from ..spend.tariff import Tariffs, tariffs

CLASSIFIER = "classifier.msgpack"
JUDGE = "judge.msgpack"
"""In the state directory: the learned scorer and the judge of cascades, which ``routerctl calibrate`` writes."""


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
    with _uncollected():
        return _compile(load_file(path), str(path), state)


def compile_text(text: str, file: str, state: Path) -> Compiled:
    """The same for a file's text, which messages call ``file``."""
    return _compile(load(text, file, os.environ), file, state)


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
    personas = persona_files(loaded.config, Path(file).parent)
    texts = {name: path.read_text("utf-8", "replace") for name, path in personas.items()}
    prices = newest(datetime.now(UTC))
    costs = tariffs(loaded.config, prices)
    return Compiled(_warned(loaded, costs, file), table, prices, costs, texts, notes)


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
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, BadModelError) as error:
        notes.append(f"{path}: {error}; it is not used until routerctl calibrate has made a new one")
        return None
