"""Hermes's ``model:`` block: a base, and routes by who asks, each laying parts of another model over it.

``routes`` come first, then ``platforms``, then ``by_source``, each in the order of the file; the first that
matches decides. What a route leaves out, or gives as ``""``, null or ``[]``, is the base's.
"""

from __future__ import annotations

from ..http import HTTP_KINDS
from ..match import is_glob
from ..schema import ConfigSpec
from ..yamltree import Node
from .draft import Draft, Tree, make
from .hermes_block import SHORTHANDS, Entry, entries, read_block
from .providers import KEYS, NoBackendError, Providers, Settings, canonical, host_of, overlay, secret_of

_OURS = {"version", "backends", "endpoints", "routes", "default", "tiered_routing"}


def read_model(draft: Draft) -> None:
    """Work ``model:`` into ``draft``; of a whole config.yaml of Hermes, leave the rest out."""
    node = draft.take("model")
    if node is None:
        return
    providers = Providers(draft.take("providers"), draft.take("custom_providers"))
    if _OURS.isdisjoint(draft.keys()):
        _leave_alone(draft, node)
    if not isinstance(node.value, dict):
        node = make({"default": node}, node)
    if block := read_block(draft, node):
        _Reader(draft, block, providers).read()


def _leave_alone(draft: Draft, node: Node) -> None:
    """Nothing of it is ours, so that this is Hermes's own file, and its words are not mistakes."""
    if rest := draft.keys():
        ours = [key for key in rest if key in ConfigSpec.__struct_fields__]
        hint = f"to give {', '.join(ours)} its meaning here, write 'version: 1'" if ours else ""
        draft.warn(node, f"read as a file of Hermes's: {', '.join(rest)} left alone", hint)
    for key in rest:
        draft.take(key)


class _Reader:
    """Makes the backends and routes of a block that was found to be right."""

    def __init__(self, draft: Draft, block: Node, providers: Providers) -> None:
        self._draft = draft
        self._block = block
        self._providers = providers
        self._declared = {**draft.names("backends"), **draft.names("endpoints")}
        self._made: dict[object, str] = {}
        base = {key: child for key, child in block.items() if key not in ("default", "routes", *SHORTHANDS)}
        named = block.get("default") or base.get("model")
        self._base: Settings = {**base, "model": named} if named else base

    def read(self) -> None:
        named = self._base.get("model")
        if named and (use := self._use(self._base, "default", "model", "model.default", named)):
            self._draft.default(use, named, "hermes model.default")
        for entry in entries(self._block):
            self._route(entry)

    def _route(self, entry: Entry) -> None:
        own = dict(entry.node.items())
        match = own.pop("match")
        if not match.value:
            self._draft.warn(match, f"{entry.path}: an empty match never matches", "say what is to match, or remove it")
            return
        settings = overlay(self._base, own)
        if "model" not in settings:
            self._draft.fail(entry.node, f"{entry.path}: neither it nor model.default names a model")
            return
        place = own.get("model") or own.get("base_url") or entry.node
        use = self._use(settings, entry.label, entry.path, f"{entry.path}.model", place)
        if use is None:
            return
        self._warn_of_inherited(own, entry.path)
        route: dict[str, Tree] = {
            "name": entry.path,
            "match": {"context": {key: _literal(value) for key, value in match.items()}},
            "use": make(use, place),
        }
        if use in self._declared and (secret := self._key_for_declared(use, own, entry.path)):
            route["set"] = {"api_key": secret}
        self._draft.route(make(route, entry.node), f"hermes {entry.path}")

    def _use(self, settings: Settings, label: str, origin: str, path: str, place: Node) -> str | None:
        """The name that answers for ``settings``; None where nobody does, which is reported."""
        model = settings["model"].source
        if model in self._declared:
            return model
        try:
            block = self._providers.backend(settings)
        except NoBackendError as error:
            self._draft.fail(place, f"{path}: {error}", error.hint)
            return None
        identity = canonical(block)
        if identity not in self._made:
            self._made[identity] = self._draft.backend(model, block, label, f"hermes {origin}")
        return self._made[identity]

    def _key_for_declared(self, name: str, own: Settings, path: str) -> Node | None:
        """The route's own key, for a backend that the file declares; the rest is said there."""
        unused = [key for key in own if key not in ("model", *KEYS)]
        secret = secret_of(own)
        over_http = any(self._declared[name].get(kind) for kind in HTTP_KINDS)
        if secret and not over_http:
            unused += [key for key in own if key in KEYS]
        if unused:
            what = f"{path}: {', '.join(unused)} is not used, for '{name}' is declared in this file"
            self._draft.warn(own[unused[0]], what, "say it there, or name another model here")
        return secret if over_http else None

    def _warn_of_inherited(self, own: Settings, path: str) -> None:
        """What is the base's where a route leaves it out may be meant for another place."""
        base, url, provider = self._base, own.get("base_url"), own.get("provider")
        if url and not secret_of(own) and secret_of(base) and host_of(url) != host_of(base.get("base_url")):
            self._draft.warn(url, f"{path}.base_url: the key of 'model' goes there too", "give this route an api_key")
        known = base["provider"].source if "provider" in base else ""
        if provider and not url and provider.source != known and (address := base.get("base_url")):
            what = f"{path}.provider: '{provider.source}' is asked at {address.source}, the base_url of 'model'"
            self._draft.warn(provider, what, "give this route a base_url")


def _literal(node: Node) -> Node:
    """Hermes compares texts; here some characters would make a text a pattern."""
    if isinstance(node.value, list):
        return make([_literal(element) for element in node.elements()], node)
    if not is_glob(node.source):
        return node
    return make("".join(f"[{mark}]" if is_glob(mark) else mark for mark in node.source), node)
