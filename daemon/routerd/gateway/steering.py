"""Fields of a request that are for a proxy, if one stands behind us. Pure.

Where a request goes, as whom, and who may answer it instead is for routes.yaml alone to say: by LiteLLM's ``api_base``
a caller would have our backend send the prompt, and its key, to any address; by ``fallbacks`` spend money that no
budget saw. The formats themselves have no such field at their top, so what is called like one is one, whoever made
it; the words are those of LiteLLM, OpenRouter, TensorZero, Vercel's and Azure's gateways, and of model servers.
OpenRouter's ``provider`` is not among them: it narrows down who may see a prompt.
"""

from __future__ import annotations

import re

_WORDS = frozenset({
    # where it goes
    "api", "base", "url", "urls", "uri", "host", "hosts", "port", "endpoint", "region", "deployment", "headers",
    "header", "ssl", "proxy", "proxies",
    # as whom
    "secret", "secrets", "password", "credential", "credentials", "username", "organization", "project", "tenant",
    "auth", "authorization", "aws", "azure", "vertex", "watsonx", "gcs",
    "langfuse", "langsmith", "humanloop", "arize", "posthog", "wandb", "weave",
    # who answers instead, how often it is asked, and what that is said to cost
    "model", "models", "fallback", "fallbacks", "router", "retry", "retries", "mock", "cost", "pricing",
    # whatever a proxy has for itself
    "callback", "callbacks", "guardrail", "guardrails", "litellm", "tensorzero",
})  # fmt: skip
_NAMES = frozenset({
    "access_token", "adapters", "client", "client_id", "config", "custom_llm_provider", "dataSources", "data_sources",
    "extra_query", "fastest_response", "kv_transfer_params", "order", "preset", "providerOptions", "provider_options",
    "provider_specific_header", "route", "tags", "user_config", "weight",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def steers(field: str) -> bool:
    """Whether the field says anything of that kind: ``api_key``, ``langfuse_host``, ``draft_model``, ``baseUrl``."""
    return field in _NAMES or any(word.lower() in _WORDS for word in _WORD.findall(field))
