"""The ``tests:`` block of routes.yaml: who must come first for a request, all backends being well. Pure."""

from __future__ import annotations

from routerd_client.chat import ChatRequest, Message

from ..config.load import Loaded
from ..config.report import Report
from ..config.schema import TestSpec
from .decide import UnknownModelError, decide
from .features import Features
from .table import Table
from .view import Denial, Limits, Wanted


class AllWell:
    """A `View` of backends that are all idle, loaded and without a record."""

    def blocked(self, _backend: str) -> Denial | None:
        return None

    def denied(self, _backend: str, _wanted: Wanted) -> Denial | None:
        return None

    def note(self, _backend: str) -> str:
        return ""

    def limits(self, _backend: str) -> Limits:
        return Limits()

    def busy(self, _backend: str) -> float:
        return 0.0

    def wait(self, _backend: str) -> float:
        return 0.0

    def tokens(self, _backend: str) -> int | None:
        return None

    def pressure(self, _backend: str) -> float | None:
        return None

    def quality(self, _backend: str) -> float | None:
        return None

    def outcomes(self, _backend: str) -> tuple[float, float]:
        return 0.0, 0.0

    def sticky(self, _endpoint: str) -> str:
        return ""


def run_tests(loaded: Loaded, table: Table, file: str) -> None:
    """Raises `ConfigFailedError` with every test of the file whose request goes elsewhere than expected."""
    report = Report(file)
    block = loaded.tree.get("tests")
    for index, test in enumerate(loaded.config.tests):
        if wrong := _wrong(test, table):
            place = block.elements()[index] if block else loaded.tree
            report.add(place, f"tests[{index}]: {wrong}", "change the test, or the routes")
    report.raise_if_any()


def _wrong(test: TestSpec, table: Table) -> str:
    chat = ChatRequest(messages=[Message("user", test.prompt)], model=test.model, context=test.context)
    try:
        decision = decide(table, Features(chat, test.client), AllWell(), seed="test").decision
    except UnknownModelError as error:
        return str(error)
    first = decision.candidates[0].backend if decision.candidates else "nobody"
    if test.expect in (decision.endpoint, first):
        return ""
    by = f"route {decision.route}" if decision.route else "the model it names" if test.model else "the default"
    return f"expected {test.expect}, but {by} leads to {decision.endpoint}, where {first} comes first"
