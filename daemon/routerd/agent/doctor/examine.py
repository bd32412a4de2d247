"""All checks, in the order in which a person would ask."""

from __future__ import annotations

from collections.abc import Iterator

from . import installed, listening, machine, models, remains, settings
from .finding import Check, Finding, Scene, fail

CHECKS: tuple[Check, ...] = (
    installed.agent,
    installed.installations,
    listening.daemon,
    listening.versions,
    listening.socket,
    listening.owner,
    settings.config,
    settings.resolvable,
    settings.readable,
    settings.front,
    models.models,
    models.unfinished,
    listening.backends,
    remains.crashes,
    remains.workers,
    machine.disk,
    machine.logs,
    machine.clock,
    machine.limits,
)


def examine(scene: Scene) -> Iterator[Finding]:
    """What every check finds. Blocks: reads the disk, and runs the commands that print secrets."""
    for check in CHECKS:
        try:
            yield from check(scene)
        except Exception as error:
            # Whoever asks has trouble already: one check's must not keep them from the others'.
            yield fail(check.__name__, f"this could not be looked at: {type(error).__name__}: {error}")


def mend(findings: list[Finding]) -> Iterator[tuple[Finding, str]]:
    """Do what is safe to do; gives each finding that could be mended, with why it could not, or ``""``."""
    for finding in findings:
        if finding.mend:
            try:
                finding.mend()
            except OSError as error:
                yield finding, error.strerror or str(error)
            else:
                yield finding, ""
