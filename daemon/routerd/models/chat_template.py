"""What a model's chat template says of the model, read from its folder without running it."""

from __future__ import annotations

import json
import re
from pathlib import Path

_TOOLS = re.compile(r"\btools\b")
_SETTINGS = ("tokenizer_config.json", "chat_template.json")
_BY_CODE = ("chat_template_type", "tool_parser_type")
"""Settings that name a template, or a format of calls, that mlx-lm has as code of its own."""
_MODELS_BY_CODE = {"muse_spark"}
"""Values of ``model_type`` for which it has one where the folder brings none."""


def shows_tools(folder: Path) -> bool:
    """Whether the chat template of the model in ``folder`` looks at tools, or may. Blocks on the disk.

    Raises ``OSError``, and ``ValueError`` where a file is damaged.
    """
    found = [file.read_text(encoding="utf-8") for file in _templates(folder)]
    for name in _SETTINGS:
        file = folder / name
        settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if not isinstance(settings, dict):
            continue
        if any(settings.get(key) for key in _BY_CODE):
            return True
        # A text, or several under names.
        found.append(json.dumps(settings.get("chat_template", "")))
    if not any(text.strip('"') for text in found):
        return _model_type(folder) in _MODELS_BY_CODE
    return any(map(_TOOLS.search, found))


def _model_type(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("model_type")) if isinstance(config, dict) else ""


def _templates(folder: Path) -> list[Path]:
    return [*folder.glob("chat_template.jinja"), *folder.glob("additional_chat_templates/*.jinja")]
