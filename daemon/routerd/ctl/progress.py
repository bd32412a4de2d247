"""One line on stderr for what is being waited for."""

from __future__ import annotations

import sys

import click

WIDTH = 30


class ProgressLine:
    """A line that is written over on a terminal; elsewhere a new line for each phase, where ``plain`` asks for it."""

    def __init__(self, *, plain: bool = False) -> None:
        self._terminal = sys.stderr.isatty()
        self._plain = plain
        self._shown = ""

    def note(self, line: str) -> None:
        """A line that stays."""
        if self._terminal or self._plain:
            self.clear()
            click.echo(line, err=True)

    def show(self, phase: str, fraction: float | None) -> None:
        """``phase`` is going on; ``fraction`` (0..1) of it is done, where known."""
        if self._terminal:
            click.echo(f"\r\x1b[K{phase:<12}{_bar(fraction)}", nl=False, err=True)
        elif self._plain and phase != self._shown:
            click.echo(f"{phase} ...", err=True)
        self._shown = phase

    def clear(self) -> None:
        if self._shown and self._terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
        self._shown = ""


def _bar(fraction: float | None) -> str:
    if fraction is None:
        return "..."
    full = round(fraction * WIDTH)
    return f"[{'#' * full}{' ' * (WIDTH - full)}] {fraction:4.0%}"
