"""Programs to talk to a model with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .setup import Edit, Harness, Role, Setup, called


def _llm_edits(setup: Setup) -> list[Edit]:
    folder = _llm_folder(setup)
    models = [_llm_model(setup, name) for name in setup.offered]
    return [
        Edit(path=folder / "extra-openai-models.yaml", format="yaml", patch=models, by="model_id"),
        Edit(path=folder / "keys.json", format="json", patch={"routerd": setup.token}),
        Edit(path=folder / "default_model.txt", format="text", patch=f"routerd/{setup.roles['main']}"),
    ]


def _llm_folder(setup: Setup) -> Path:
    # where click has it, which llm asks
    default = ("Library", "Application Support") if sys.platform == "darwin" else (".config",)
    base = setup.home.joinpath(*default) if sys.platform == "darwin" else setup.folder("XDG_CONFIG_HOME", *default)
    return setup.folder("LLM_USER_PATH", str(base / "io.datasette.llm"))


def _llm_model(setup: Setup, name: str) -> dict[str, Any]:
    where = {"api_base": setup.base_url, "api_key_name": "routerd"}
    return {
        "model_id": f"routerd/{name}",
        "model_name": name,
        **where,
        "headers": called("llm"),
        "supports_tools": name not in setup.without_tools,
    }


LLM = Harness(
    about="llm (0.36)",
    next="llm -m routerd/{main} 'say hello'",
    roles=(Role("main", "what you ask", routed=True),),
    edits=_llm_edits,
)

OPEN_WEBUI = Harness(
    about="Open WebUI",
    next="open-webui serve; or in its pages: Admin Settings, Connections, OpenAI",
    roles=(
        Role("main", "the conversation", routed=True),
        Role("task", "titles, tags and searches", ("fast", "simple", "small", "secondary"), like="main"),
    ),
    environment=lambda setup: {
        "ENABLE_OPENAI_API": "true",
        "OPENAI_API_BASE_URL": setup.base_url,
        "OPENAI_API_KEY": setup.token,
        "DEFAULT_MODELS": setup.roles["main"],
        "TASK_MODEL_EXTERNAL": setup.roles["task"],
    },
)
