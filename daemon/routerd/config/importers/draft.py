"""A routes.yaml while another system's file is read into it, and what is left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import yaml
from msgspec import Struct

from ..load import load
from ..report import ConfigFailedError, Place
from ..yamltree import Node

_NO_NAME = re.compile(r"[^A-Za-z0-9._:-]+")
_VERSION = re.compile(r"/v\d+\w*(/|$)")


_DEMO: dict[str, Any] = {"backends": {"demo": {"mlx": {"model": "demo"}}}, "default": "demo"}


class Note(Struct, frozen=True, order=True):
    """Something that is not carried over, or not as it was. ``line`` counts from 1."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class Draft:
    """The parts of the file to be. ``aliases`` lead from names that are asked for to names that there are; no backend
    is at ``listen``, where the daemon itself is."""

    def __init__(self, listen: str = "") -> None:
        self._front = {"http": {"listen": listen, "remote": True}} if listen else {}
        self.backends: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.routes: list[dict[str, Any]] = []
        self.aliases: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.default = ""
        self._notes: set[Note] = set()

    def note(self, place: Place, what: str) -> None:
        self._notes.add(Note(place.line, what))

    def notes(self) -> list[Note]:
        return sorted(self._notes)

    def backend(self, name: str, block: dict[str, Any], place: Place) -> str:
        """Add a backend and return what it is called: ``name``, where that is free and allowed. ``""`` where the
        block is wrong, which is noted."""
        free = self.free(name)
        if not self.takes({"backends": {free: block}, "default": free}, place):
            return ""
        self.backends[free] = block
        return free

    def route(self, route: dict[str, Any], place: Place) -> None:
        """Add a route, where it is right; else that is noted."""
        if self.takes({**_DEMO, "routes": [{**route, "use": "demo"}]}, place):
            self.routes.append(route)

    def setting(self, key: str, value: Any, place: Place) -> None:
        """Add a block of the file's own, where it is right; else that is noted."""
        if self.takes({**_DEMO, key: value}, place):
            self.settings[key] = value

    def takes(self, parts: dict[str, Any], place: Place) -> bool:
        """Whether a file of these parts alone would have no mistakes; those it has are noted."""
        try:
            load(dump({**self._front, **parts}), "")
        except ConfigFailedError as error:
            for mistake in error.errors:
                self.note(place, mistake.message)
            return False
        return True

    def free(self, name: str) -> str:
        """``name`` as one that a backend or endpoint may have, and none has yet."""
        base = _NO_NAME.sub("-", name).strip("._:-") or "model"
        taken = {*self.backends, *self.endpoints, "routed"}
        return next(one for one in (base, *(f"{base}-{n}" for n in range(2, 10_000))) if one not in taken)

    def alias(self, asked: str, name: str) -> None:
        """Have ``asked`` mean ``name``, where it is no name of this file itself."""
        if asked != name and asked not in self.backends and asked not in self.endpoints:
            self.aliases.setdefault(asked, name)

    def text(self, title: str) -> str:
        """The file, what it does not carry over as comments at its head."""
        left = [f"#   {note}" for note in self.notes()]
        head = [f"# {title}", *(["# Not carried over, or not as it was:", *left] if left else [])]
        parts: dict[str, Any] = {
            "version": 1,
            "backends": {name: _billed(block) for name, block in self.backends.items()},
            "endpoints": self.endpoints,
            "routes": self.routes,
            "aliases": self.aliases,
            "default": self.default or next(iter(self.backends)),
            **self.settings,
        }
        given = {key: value for key, value in parts.items() if value not in ({}, [])}
        return "\n".join(head) + "\n" + dump(given)


def dump(value: Any) -> str:
    """YAML that means the same in 1.1 and 1.2, and in which what comes twice is written twice."""
    copied = json.loads(json.dumps(value))
    return yaml.safe_dump(copied, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def _billed(block: dict[str, Any]) -> dict[str, Any]:
    urls = [str(spec.get("base_url", "")) for spec in block.values() if isinstance(spec, dict)]
    return {**block, "billing": "local"} if any(map(_is_near, urls)) else block


def _is_near(url: str) -> bool:
    """Whether it is a machine of one's own network, which costs nothing. This machine needs no mention."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host.endswith((".local", ".lan", ".internal"))
    return address.is_private and not address.is_loopback


class Block:
    """A map of theirs. What nobody takes of it, `rest` notes."""

    def __init__(self, draft: Draft, node: Node | None, path: str) -> None:
        self.path = path
        self.node = node
        self._draft = draft
        self._left = dict(node.items()) if node else {}
        if node and node.value is not None and not isinstance(node.value, dict):
            draft.note(node, f"{path} is no block of keys")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str) -> Node | None:
        """The value, which is then dealt with; None where there is none, or it is null."""
        node = self._left.pop(key, None)
        return None if node is None or node.value is None else node

    def text(self, key: str) -> str:
        """The value's text, ``""`` where there is none."""
        node = self.take(key)
        return node.source if node and not isinstance(node.value, dict | list) else ""

    def number(self, key: str) -> float | None:
        """The value as a number, a whole one where it is; another is noted."""
        node = self.take(key)
        if node is None:
            return None
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        try:
            return int(node.source) if node.source.isdigit() else float(node.source)
        except ValueError:
            self._draft.note(node, f"{self.path}.{key}: '{node.source}' is no number")
            return None

    def block(self, key: str) -> Block:
        """The block under ``key``, empty where there is none."""
        return Block(self._draft, self.take(key), f"{self.path}.{key}" if self.path else key)

    def blocks(self, key: str) -> Iterator[tuple[str, Block]]:
        """The blocks that the block under ``key`` has, by their names."""
        inner = self.block(key)
        for name, node in inner._left.items():
            yield name, Block(self._draft, node, f"{inner.path}.{name}")

    def ignore(self, *keys: str) -> None:
        """These mean nothing here, and nobody will miss them."""
        for key in keys:
            self._left.pop(key, None)

    def rest(self, reasons: dict[str, str] | None = None) -> None:
        """Note what is left, each with its reason where there is one."""
        for key, node in self._left.items():
            why = (reasons or {}).get(key, "")
            self._draft.note(node, f"{self.path}.{key}".lstrip(".") + (f": {why}" if why else ""))
        self._left = {}


def versioned(url: str) -> str:
    """An API's address up to and with its version, which others leave out."""
    bare = url.rstrip("/")
    return bare if _VERSION.search(bare) else f"{bare}/v1"


def plain(node: Node) -> Any:
    """What ``node`` holds, without its places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.items()}
    return [plain(child) for child in node.elements()] if isinstance(node.value, list) else node.value
