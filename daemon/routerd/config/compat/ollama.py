"""Ollama's tags, and the conversions for MLX that stand for them.

Only tags that people's configurations of other routers commonly name; 4 bits throughout, as Ollama's own
defaults. The names of the conversions were taken from programs and documents that use them and not looked up
at Hugging Face: a wrong one fails at its first download, with the name in the message, and is put right by
declaring the backend by hand.
"""

from __future__ import annotations

_ORGANISATION = "mlx-community"

_CONVERSIONS = {
    "gemma2:2b": "gemma-2-2b-it-4bit",
    "gemma2:9b": "gemma-2-9b-it-4bit",
    "hermes3:8b": "Hermes-3-Llama-3.1-8B-4bit",
    "hermes3:70b": "Hermes-3-Llama-3.1-70B-4bit",
    "llama3.1:8b": "Meta-Llama-3.1-8B-Instruct-4bit",
    "llama3.1:70b": "Meta-Llama-3.1-70B-Instruct-4bit",
    "llama3.2:1b": "Llama-3.2-1B-Instruct-4bit",
    "llama3.2:3b": "Llama-3.2-3B-Instruct-4bit",
    "mistral:7b": "Mistral-7B-Instruct-v0.3-4bit",
    "mistral:7b-instruct": "Mistral-7B-Instruct-v0.3-4bit",
    "qwen2.5:7b": "Qwen2.5-7B-Instruct-4bit",
    "qwen3:8b": "Qwen3-8B-4bit",
}


_FORWARDED = ("-cloud", ":cloud")


def answers_itself(tag: str) -> bool:
    """Return whether Ollama answers for ``tag`` on its machine, instead of asking its maker's cloud."""
    return not tag.endswith(_FORWARDED)


def conversion(tag: str) -> str:
    """The Hugging Face id for an Ollama tag; ``""`` for one that is not known here."""
    name = _CONVERSIONS.get(tag)
    return f"{_ORGANISATION}/{name}" if name else ""
