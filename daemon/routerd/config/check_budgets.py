"""Budgets and quotas: names that exist, a time zone that exists, moments that are moments."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from .report import Report
from .yamltree import Node, select


def check_budgets(tree: Node, report: Report) -> None:
    """Report limits of backends and routes that are not there, unknown time zones, and moments nobody can read."""
    budgets, backends, routes = tree.get("budgets"), tree.get("backends"), tree.get("routes")
    if budgets and isinstance(budgets.value, dict):
        _check_names(budgets, "backends", set(backends.marks) if backends else set(), report)
        _check_names(budgets, "routes", _names(routes), report)
        if (zone := budgets.get("time_zone")) and isinstance(zone.value, str) and zone.value:
            _check_zone(zone, report)
    for path, quota in select(tree, ("backends", "*", "quota", "*")):
        if (starts := quota.get("starts")) and isinstance(starts.value, str) and starts.value:
            _check_moment(starts, f"{path}.starts", report)


def _names(routes: Node | None) -> set[str]:
    found = [route.get("name") for route in routes.elements()] if routes and isinstance(routes.value, list) else []
    return {str(name.value) for name in found if name}


def _check_names(budgets: Node, group: str, known: set[str], report: Report) -> None:
    limited = budgets.get(group)
    for name, mark in limited.marks.items() if limited and isinstance(limited.value, dict) else ():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(sorted(known))}" if known else ""
            what = "no route is named so" if group == "routes" else "there is no such backend"
            report.add(mark, f"budgets.{group}.{name}: {what}", hint)


def _check_zone(zone: Node, report: Report) -> None:
    try:
        ZoneInfo(str(zone.value))
    except (ValueError, OSError, LookupError):
        near = get_close_matches(str(zone.value), available_timezones(), 1)
        hint = f"did you mean {near[0]}?" if near else "a name such as Europe/Berlin"
        report.add(zone, f"budgets.time_zone: '{zone.value}' is no time zone known here", hint)


def _check_moment(node: Node, path: str, report: Report) -> None:
    try:
        datetime.fromisoformat(str(node.value))
    except ValueError:
        report.add(node, f"{path}: '{node.value}' is not a moment", "such as 2026-11-03T09:00")
