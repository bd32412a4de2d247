"""What going from one configuration to the next does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from routerd_client.records import Plan

from .match import texts
from .schema import ConfigSpec, MlxSpec, RouteSpec

# what a process is started with; the other fields are the daemon's own to apply
_PROCESS_FIELDS = ("model", "adapter", "context", "concurrency", "kv_tokens", "prompt_cache", "hosts")
_SETTINGS = ("default", "aliases", "persona", "sticky", "tests", "health", "memory", "http", "log", "ledger")
_NO_OPINION: tuple[Any, ...] = (None, (), {}, "")
_NOTHING = ConfigSpec(backends={}, default="")


class _Diff(Struct, frozen=True):
    """The names of one kind of thing that were added, removed or changed."""

    kind: str
    added: list[str]
    removed: list[str]
    changed: list[str]

    def lines(self) -> list[str]:
        verbs = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return [f"{self.kind} '{name}' {verb}" for verb, names in verbs for name in names]

    def summary(self) -> list[str]:
        count = len(self.lines())
        return [f"{_counted(count, self.kind)} changed"] if count else []


def needs_restart(old: MlxSpec, new: MlxSpec) -> bool:
    """True where a process that was started for ``old`` cannot serve ``new``."""
    return any(getattr(old, field) != getattr(new, field) for field in _PROCESS_FIELDS)


def plan(old: ConfigSpec | None, new: ConfigSpec) -> Plan:
    """What changes on the way from ``old``, or from nothing, to ``new``.

    ``drain`` names the backends that go away, ``restart`` those whose process, if it runs, must give
    way to a new one, ``load`` those that are to be loaded at start and were not before. A renamed
    backend goes away and comes anew.
    """
    before = old or _NOTHING
    routes = _diff("route", _labelled(before.routes), _labelled(new.routes))
    endpoints = _diff("endpoint", before.endpoints, new.endpoints)
    backends = _diff("backend", before.backends, new.backends)
    restart = [name for name in backends.changed if _restarts(before.backends[name].mlx, new.backends[name].mlx)]
    load = [name for name in new.backends if _preloads(new, name) and not _preloads(before, name)]
    rest = _settings(before, new)
    changes = [*routes.lines(), *endpoints.lines(), *backends.lines(), *rest]
    counts = [*routes.summary(), *endpoints.summary(), *backends.summary(), *rest]
    work = [f"{_counted(len(load), 'model')} to load", f"{len(restart)} restarted"]
    summary = ", ".join(counts + work) if changes else "nothing changed"
    return Plan(summary, changes, load, backends.removed, restart)


def _restarts(old: MlxSpec | None, new: MlxSpec | None) -> bool:
    return old is not None and new is not None and needs_restart(old, new)


def _diff(kind: str, old: Mapping[str, Struct], new: Mapping[str, Struct]) -> _Diff:
    return _Diff(
        kind,
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        changed=[name for name in new if name in old and old[name] != new[name]],
    )


def _labelled(routes: Iterable[RouteSpec]) -> dict[str, RouteSpec]:
    """Routes by name, or by what they match: an index would make one insertion change all that follow."""
    labelled: dict[str, RouteSpec] = {}
    for route in routes:
        label = name = route.name or _match_text(route)
        again = 1
        while label in labelled:
            again += 1
            label = f"{name} ({again})"
        labelled[label] = route
    return labelled


def _match_text(route: RouteSpec) -> str:
    parts = [f"{key}={'|'.join(texts(values))}" for key, values in route.match.context.items()]
    rest = replace(route.match, context={})
    parts += [f"{name.removesuffix('_')}={value}" for name, value in asdict(rest).items() if value not in _NO_OPINION]
    return " ".join(parts) or "any"


def _settings(old: ConfigSpec, new: ConfigSpec) -> list[str]:
    """What changed beside the named things."""
    fields = [field for field in _SETTINGS if getattr(old, field) != getattr(new, field)]
    return [*(["routes reordered"] if _moved(old, new) else []), *(f"{field} changed" for field in fields)]


def _moved(old: ConfigSpec, new: ConfigSpec) -> bool:
    before, after = _labelled(old.routes), _labelled(new.routes)
    return [name for name in before if name in after] != [name for name in after if name in before]


def _preloads(config: ConfigSpec, name: str) -> bool:
    backend = config.backends.get(name)
    return bool(backend and backend.mlx and backend.mlx.preload)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
