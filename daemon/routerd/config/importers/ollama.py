"""Ollama: what ``ollama list`` prints, or a Modelfile.

Tags that have a conversion for MLX become models of ours; the others go on being asked of Ollama.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..compat.ollama import answers_itself, conversion
from ..report import Mark
from .draft import Draft

OLLAMA = "http://127.0.0.1:11434/v1"
_INSTRUCTION = re.compile(r"(?i)\s*(FROM|PARAMETER|SYSTEM|TEMPLATE|ADAPTER|LICENSE|MESSAGE|REQUIRES)\s+(.*)")
_ROW = re.compile(r"([\w.-][\w./-]*(?::[\w.-]+)?)\s*(?:\s[0-9a-f]{12}\s.*)?$")
"""A model's tag, and what ``ollama list`` prints after it: an id, a size, a time."""
_SET = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "repeat_penalty": "repetition_penalty",
}
_WHOLE = {"top_k", "seed"}
_LONG_CONTEXT = 16384
_REASONS = {
    "TEMPLATE": "a model's own template is used",
    "ADAPTER": "adapters of llama.cpp are not read; one of mlx-lm goes under 'adapter'",
    "MESSAGE": "examples are the caller's to send",
    "SYSTEM": "put the text into a file, and name that as 'persona'",
}


def read_ollama(draft: Draft, text: str) -> None:
    """Work a list of models or a Modelfile into ``draft``."""
    if any((found := _INSTRUCTION.match(line)) and found[1].upper() == "FROM" for line in text.splitlines()):
        _read_modelfile(draft, text)
    else:
        _read_list(draft, text)


def _read_list(draft: Draft, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.split()[0] == "NAME":
            continue
        row = _ROW.match(line)
        if row is None:
            draft.note(Mark(number, 1), f"'{line.strip()[:60]}' is no line of a list of models")
            continue
        tag = row[1]
        name = tag.removesuffix(":latest")
        if called := draft.backend(name, _backend(draft, tag, number), Mark(number, 1)):
            draft.alias(tag, called)
            draft.alias(name, called)


def _backend(draft: Draft, tag: str, line: int) -> dict[str, Any]:
    if converted := conversion(tag) or conversion(tag.removesuffix(":latest")):
        draft.note(Mark(line, 1), f"{tag}: its conversion {converted} will be downloaded instead")
        return {"mlx": {"model": converted}}
    draft.note(Mark(line, 1), f"{tag}: no conversion for MLX is known; Ollama goes on serving it at {OLLAMA}")
    if not (own := answers_itself(tag)):
        draft.note(Mark(line, 1), f"{tag}: Ollama forwards it to its cloud, so requests that must stay here skip it")
    return {"openai": {"model": tag, "base_url": OLLAMA, "local": own}}


def _read_modelfile(draft: Draft, text: str) -> None:
    settings: dict[str, Any] = {}
    limits: dict[str, int] = {}
    stops: list[str] = []
    base, line = "", 0
    for number, word, value in _instructions(text):
        if word == "FROM":
            base, line = value, number
        elif word == "PARAMETER":
            _parameter(draft, number, value, settings, limits, stops)
        elif word in _REASONS:
            draft.note(Mark(number, 1), f"{word}: {_REASONS[word]}")
    own_file = base.lower().endswith(".gguf") or base.startswith(("/", "./", "../", "~"))
    block: dict[str, Any] = {"mlx": {"model": base}} if own_file else _backend(draft, base, line)
    if own_file:
        draft.note(Mark(line, 1), f"{base}: routerd loads it itself, where its blocks are Q4_0, Q4_1, Q8_0 or F16")
    block.get("mlx", {}).update(limits)
    name = draft.backend(base.rpartition("/")[2].removesuffix(".gguf"), block, Mark(line, 1))
    if stops:
        settings["stop"] = stops
    draft.default = name
    if settings and name:
        # what is laid on requests is a route's, so they are to come by one
        draft.route({"name": f"{name}-parameters", "match": {}, "use": name, "set": settings}, Mark(line, 1))


def _parameter(
    draft: Draft, line: int, text: str, settings: dict[str, Any], limits: dict[str, int], stops: list[str]
) -> None:
    key, _, value = text.partition(" ")
    value = value.strip().strip('"')
    if key == "stop":
        stops.append(value)
    elif key in _SET and (number := _number(value)) is not None:
        settings[_SET[key]] = int(number) if key in _WHOLE else number
    elif key == "num_ctx" and value.isdigit():
        limits["context"] = int(value)
        if int(value) > _LONG_CONTEXT:
            limits["kv_tokens"] = int(value)
    elif key == "num_predict" and value.isdigit():
        limits["max_tokens"] = int(value)
    else:
        draft.note(Mark(line, 1), f"PARAMETER {text}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, instruction and argument; what stands in triple quotes is part of its instruction."""
    quoted = False
    for number, line in enumerate(text.splitlines(), 1):
        if not quoted and (found := _INSTRUCTION.match(line)):
            yield number, found[1].upper(), found[2].strip()
        if line.count('"""') % 2:
            quoted = not quoted
