"""Hermes's config.yaml: its model, and those of its fallbacks, its auxiliary tasks and its subagents."""

from __future__ import annotations

from ..compat import translate
from ..compat.draft import remade
from ..compat.providers import NoBackendError, Providers, canonical
from ..report import Report
from ..yamltree import Node
from .draft import Block, Draft, plain

_OWN = ("model", "providers", "custom_providers")
_ASKS = {"provider", "model", "base_url", "api_key", "key_env", "api_key_env", "key_cmd", "api_mode", "context_length"}
_SAME = ("", "auto", "main")


def read_hermes(draft: Draft, tree: Node) -> None:
    """Work a config.yaml of Hermes into ``draft``."""
    _Reader(draft, tree).read()


class _Reader:
    def __init__(self, draft: Draft, tree: Node) -> None:
        self._draft = draft
        self._tree = tree
        self._providers = Providers(tree.get("providers"), tree.get("custom_providers"))
        self._made: dict[object, str] = {}

    def read(self) -> None:
        self._read_model()
        top = Block(self._draft, self._tree, "")
        top.ignore(*_OWN)
        followers = [*self._listed(top.take("fallback_providers")), *self._listed(top.take("fallback_model"))]
        chain = list(dict.fromkeys(name for _, name in followers if name != self._draft.default))
        if chain and self._draft.default:
            called = self._draft.free("primary")
            self._draft.endpoints[called] = {"fallback": [self._draft.default, *chain]}
            self._draft.default = called
        self._named("delegation", top.block("delegation"))
        for task, block in top.blocks("auxiliary"):
            self._named(task, block)
        top.rest({"_config_version": "is Hermes's"})

    def _read_model(self) -> None:
        """The block that may stand in a routes.yaml as well."""
        report = Report("")
        own = {key: node for key, node in self._tree.items() if key in _OWN}
        found = translate(remade(self._tree, own), {}, report, "")
        for mistake in [*report.sorted(), *found.warnings]:
            self._draft.note(mistake, f"{mistake.message}{f' ({mistake.hint})' if mistake.hint else ''}")
        translated = plain(found.tree)
        if not found.whole or not self._draft.takes(translated, self._tree):
            return
        self._draft.backends.update(translated.get("backends", {}))
        self._draft.routes.extend(translated.get("routes", []))
        self._draft.aliases.update(translated.get("aliases", {}))
        self._draft.default = translated.get("default", "")
        backends = found.tree.get("backends")
        self._made = {canonical(node): name for name, node in backends.items()} if backends else {}

    def _listed(self, node: Node | None) -> list[tuple[Node, str]]:
        entries = node.elements() or ([node] if isinstance(node.value, dict) else []) if node else []
        return [(entry, name) for entry in entries if (name := self._backend(entry))]

    def _named(self, role: str, block: Block) -> None:
        """The endpoint of a part that has a model of its own."""
        if block.node is None or not isinstance(block.node.value, dict):
            return
        name = self._backend(block.node)
        block.ignore(*_ASKS)
        if name:
            self._draft.endpoints[self._draft.free(role)] = {"fallback": [name]}

    def _backend(self, node: Node) -> str:
        """The backend that answers as ``node`` says, made where there is none yet; ``""`` where it says nothing."""
        given = {key: child for key, child in node.items() if key in _ASKS and child.value not in (None, "")}
        model, provider = given.get("model"), given.get("provider")
        if model is None or (provider and provider.source in _SAME and "base_url" not in given):
            return self._by_model(model) if model else ""
        try:
            block = self._providers.backend(given)
        except NoBackendError as error:
            self._draft.note(node, f"{model.source}: {error} ({error.hint})")
            return ""
        identity = canonical(block)
        if identity not in self._made:
            self._made[identity] = self._draft.backend(model.source, plain(block), node)
        return self._made[identity]

    def _by_model(self, model: Node) -> str:
        """Hermes would ask its main provider for it, or one that it finds."""
        if model.source in self._draft.backends:
            return model.source
        self._draft.note(model, f"{model.source}: no provider is named for it")
        return ""
