"""LiteLLM's proxy: deployments in groups by the name that is asked for, and who follows whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from ..compat.catalog import MAKERS, recipe_of
from ..compat.ollama import answers_itself
from ..http import is_near
from ..yamltree import Node
from .draft import Block, Draft, versioned


class _Provider(NamedTuple):
    kind: str
    base_url: str = ""
    key_env: str = ""
    needs_base: bool = False


_PROVIDERS = {
    **{name: _Provider(maker.kind, maker.base_url, maker.key_env) for name, maker in MAKERS.items()},
    "lm_studio": _Provider("openai", MAKERS["lmstudio"].base_url),
    "ollama": _Provider("openai", "http://127.0.0.1:11434/v1"),
    "ollama_chat": _Provider("openai", "http://127.0.0.1:11434/v1"),
    "groq": _Provider("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "deepseek": _Provider("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "mistral": _Provider("openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "cerebras": _Provider("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "together_ai": _Provider("openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": _Provider("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "gemini": _Provider("openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    **dict.fromkeys(
        ("hosted_vllm", "openai_like", "custom_openai", "llamafile", "litellm_proxy"),
        _Provider("openai", needs_base=True),
    ),
    "azure": _Provider("openai", key_env="AZURE_API_KEY", needs_base=True),
}
_KEYLESS = ("http://127.0.0.1", "http://localhost")
_ENVIRONMENT = "os.environ/"
_STRATEGIES = {"simple-shuffle", "least-busy"}
_REASONS = {
    "num_retries": "a failure is tried again once where that can help, then the next candidate",
    "master_key": "routerd makes a token of its own: routerctl token",
    "drop_params": "what a backend does not take is always left out",
    "routing_strategy_args": "the strategy has no such settings here",
    "enable_pre_call_checks": "a prompt that does not fit is never sent",
    "redis_host": "nothing is shared with other machines",
    "database_url": "records are kept by routerd itself",
    "success_callback": "see routerctl decisions",
    "failure_callback": "see routerctl decisions",
}


class _Member(Struct, frozen=True):
    backend: str
    weight: float | None
    order: float | None


def read_litellm(draft: Draft, tree: Node) -> None:
    """Work a proxy's config.yaml into ``draft``."""
    top = Block(draft, tree, "")
    listed = top.take("model_list")
    nodes = listed.elements() if listed else []
    names = [name.source if (name := node.get("model_name")) else "" for node in nodes]
    router, general = top.block("router_settings"), top.block("litellm_settings")
    chains = _chains(draft, set(names), router, general)
    groups = _groups(draft, nodes, names, chains)
    strategy = router.take("routing_strategy")
    if strategy and strategy.source not in _STRATEGIES:
        told = f"router_settings.routing_strategy {strategy.source}: those with the fewest requests go first instead"
        draft.note(strategy, told)
    targets = {name: _target(members, strategy.source if strategy else "") for name, members in groups.items()}
    for group in groups:
        _endpoint(draft, targets, group, chains[group])
    draft.default = next((draft.aliases.get(group, group) for group in groups), "")
    _aliases(draft, router.take("model_group_alias"), set(groups))
    _health(draft, router, general)
    for block in (router, general, top.block("general_settings")):
        block.rest(_REASONS)
    top.rest()


# deployments


def _groups(
    draft: Draft, nodes: list[Node], names: list[str], chains: dict[str, list[str]]
) -> dict[str, list[_Member]]:
    groups: dict[str, list[_Member]] = {}
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        block = Block(draft, node, f"model_list[{index}]")
        block.ignore("model_name")
        params, info = block.block("litellm_params"), block.block("model_info")
        if not name or "*" in name:
            draft.note(node, f"model_list[{index}]: '{name}' stands for any model: name each")
        elif made := _backend(draft, node, name, params, info):
            # one of several gets a number, for the name is the endpoint's
            alone = names.count(name) == 1 and not chains[name]
            numbered = name if alone else f"{name}-{len(groups.get(name, ())) + 1}"
            weight, order = params.number("weight"), params.number("order")
            if called := draft.backend(numbered, made, node):
                groups.setdefault(name, []).append(_Member(called, weight, order))
            params.ignore("drop_params")
            params.rest({"max_retries": _REASONS["num_retries"], "api_version": "Azure's v1 API needs none"})
            info.ignore("id", "mode", "base_model", "description")
            info.rest()
            block.rest()
    return groups


def _backend(draft: Draft, node: Node, name: str, params: Block, info: Block) -> dict[str, Any] | None:
    """The block of a backend for a deployment; None where there is none here, which is noted."""
    mode = info.node.get("mode") if info.node else None
    if mode and mode.source not in ("chat", "responses", "completion"):
        draft.note(mode, f"{name}: mode {mode.source}: only models that chat are carried over")
        return None
    model = params.text("model")
    provider, prefix, theirs = _provider(model, params.text("custom_llm_provider"))
    base = params.text("api_base") or params.text("base_url")
    if provider is None or (provider.needs_base and not base):
        draft.note(node, f"{name}: nothing here asks '{model}'" + (" without an api_base" if provider else ""))
        return None
    if "*" in theirs:
        draft.note(node, f"{name}: '{model}' stands for any model: name each")
        return None
    kind = "responses" if theirs.startswith("responses/") else provider.kind
    theirs = theirs.removeprefix("responses/")
    spec: dict[str, Any] = {"model": theirs}
    if url := _address(prefix, base, provider):
        spec["base_url"] = url
    if prefix in ("ollama", "ollama_chat") and is_near(url):
        spec["local"] = answers_itself(theirs)
    if key := _key(params, provider, url):
        spec["api_key"] = key
    return {kind: {**spec, **_limits(params, info)}, **_quota(params), **_price(params, info)}


def _provider(model: str, named: str) -> tuple[_Provider | None, str, str]:
    """Who answers for ``model``, by the name that is given beside it or what it begins with; that, and the rest."""
    prefix, _, rest = model.partition("/")
    begun = prefix if rest else ""
    if provider := _PROVIDERS.get(named or begun):
        return provider, named or begun, rest if rest and named in ("", begun) else model
    recipe = None if named else recipe_of(model)
    if recipe is None or recipe.kind == "mlx":
        return None, "", model
    return _Provider(recipe.kind, recipe.base_url, recipe.key_env), "", model


def _address(prefix: str, base: str, provider: _Provider) -> str:
    if not base:
        return provider.base_url
    if prefix == "azure":
        return f"{base.rstrip('/')}/openai/v1"
    return versioned(base) if prefix in ("ollama", "ollama_chat", "anthropic") else base.rstrip("/")


def _key(params: Block, provider: _Provider, url: str) -> Any:
    given = params.text("api_key")
    if given.startswith(_ENVIRONMENT):
        return {"env": given.removeprefix(_ENVIRONMENT)}
    if given:
        return given
    return {"env": provider.key_env} if provider.key_env and not url.startswith(_KEYLESS) else None


def _limits(params: Block, info: Block) -> dict[str, Any]:
    told: dict[str, Any] = {
        "max_tokens": params.number("max_tokens"),
        "concurrency": params.number("max_parallel_requests"),
        "context": info.number("max_input_tokens"),
    }
    info.ignore("max_tokens", "max_output_tokens")  # what the model could, not what it is asked for
    times = {"total": params.number("timeout"), "first_token": params.number("stream_timeout")}
    if given := {key: value for key, value in times.items() if value}:
        told["timeouts"] = given
    for theirs, ours in (("supports_function_calling", "tools"), ("supports_vision", "vision")):
        if (can := info.take(theirs)) and can.value is False:
            told[ours] = False
    headers = params.take("extra_headers")
    if headers and isinstance(headers.value, dict):
        told["headers"] = {key: value.source for key, value in headers.items()}
    return {key: value for key, value in told.items() if value is not None}


def _quota(params: Block) -> dict[str, Any]:
    limits = {"requests": params.number("rpm"), "tokens": params.number("tpm")}
    quota = [{"per": "minute", unit: int(value)} for unit, value in limits.items() if value]
    return {"quota": quota} if quota else {}


def _price(params: Block, info: Block) -> dict[str, Any]:
    """Theirs are dollars a token."""
    prices: dict[str, float] = {}
    names = {"input": "input_cost_per_token", "output": "output_cost_per_token"}
    names |= {"cache_read": "cache_read_input_token_cost", "cache_write": "cache_creation_input_token_cost"}
    for ours, theirs in names.items():
        given = [block.number(theirs) for block in (params, info)]
        if cost := next((value for value in given if value is not None), None):
            prices[ours] = round(cost * 1e6, 6)
    return {"price": prices} if {"input", "output"} <= prices.keys() else {}


# groups


def _chains(draft: Draft, names: set[str], *settings: Block) -> dict[str, list[str]]:
    """Whom each group is followed by, in order, each once."""
    chains: dict[str, list[str]] = {}
    common: list[str] = []
    for block in settings:
        for key in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
            node = block.take(key)
            if node and key != "fallbacks" and node.value:
                draft.note(node, f"{block.path}.{key}: they follow after any failure")
            for name, follower in _pairs(node):
                if name in names and follower.source in names:
                    chains.setdefault(name, []).append(follower.source)
                else:
                    draft.note(follower, f"{block.path}.{key}: {name} -> {follower.source or 'a block'}")
        everyone = block.take("default_fallbacks")
        common += [node.source for node in (everyone.elements() if everyone else []) if node.source in names]
    return {
        name: [other for other in dict.fromkeys([*chains.get(name, []), *common]) if other != name] for name in names
    }


def _pairs(listed: Node | None) -> Iterator[tuple[str, Node]]:
    for entry in listed.elements() if listed else []:
        for name, followers in entry.items():
            for follower in followers.elements():
                yield name, follower


def _endpoint(draft: Draft, targets: dict[str, str | dict[str, Any]], name: str, chain: list[str]) -> None:
    """The endpoint of a group that is more than one backend. Chains name no endpoints, for theirs may lead back."""
    own = targets[name]
    followers = [targets[other] for other in chain if other in targets]
    if isinstance(own, str) and not chain:
        draft.alias(name, own)
        return
    called = draft.free(name)
    draft.endpoints[called] = own if isinstance(own, dict) and not followers else {"fallback": [own, *followers]}
    draft.alias(name, called)


def _target(members: list[_Member], strategy: str) -> str | dict[str, Any]:
    if len(members) == 1:
        return members[0].backend
    names = [member.backend for member in members]
    if any(member.order is not None for member in members):
        return {"fallback": [one.backend for one in sorted(members, key=lambda one: one.order or 0)]}
    if strategy in ("", "simple-shuffle"):
        return {"weighted": {member.backend: max(member.weight or 1, 0) for member in members}}
    return {"balance": names}


def _aliases(draft: Draft, node: Node | None, groups: set[str]) -> None:
    for asked, meant in node.items() if node else ():
        name = (
            (inner.source if (inner := meant.get("model")) else "") if isinstance(meant.value, dict) else meant.source
        )
        if name in groups:
            draft.alias(asked, draft.aliases.get(name, name))
        else:
            draft.note(meant, f"router_settings.model_group_alias.{asked}: there is no '{name}'")


def _health(draft: Draft, *settings: Block) -> None:
    health: dict[str, Any] = {}
    for block in settings:
        if fails := block.number("allowed_fails"):
            health["allowed_fails"] = int(fails)
        if cooldown := block.number("cooldown_time"):
            health |= {"cooldown": cooldown, "cooldown_max": max(cooldown, 20)}
    place = next((block.node for block in settings if block.node), None)
    if health and place:
        draft.setting("health", health, place)
