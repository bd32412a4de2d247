"""A check of a model's chat template before anybody asks: one that fails for everybody is the model's fault."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from ..models.errors import BrokenModelError

_USER = {"role": "user", "content": "hello"}
_CONVERSATIONS = (
    [_USER],
    [{"role": "system", "content": "be kind"}, _USER],
    [_USER, {"role": "assistant", "content": "hi"}, _USER],
)
_FILES = ("chat_template.jinja", "chat_template.json")


def check_template(tokenizer: Any, folder: Path) -> None:
    """Raise `BrokenModelError` where the chat template does not compile, or breaks at each of a few conversations.

    One that declines them all by ``raise_exception`` passes: it may want what no plain conversation has.
    """
    first: Exception | None = None
    for conversation in _CONVERSATIONS:
        try:
            tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        except TemplateSyntaxError as exc:
            raise _broken("does not compile", exc, exc.lineno, folder) from exc
        except Exception as exc:  # a template is a program, and may raise anything
            if type(exc) is TemplateError:  # its own raise_exception, and no subclass
                return
            first = first or exc
        else:
            return
    if first is not None:
        raise _broken("fails for every conversation", first, _line(first), folder) from first


def _broken(what: str, exc: Exception, line: int, folder: Path) -> BrokenModelError:
    file = next((name for name in _FILES if (folder / name).exists()), "tokenizer_config.json")
    place = f", line {line}" if line else ""
    text = " ".join(str(exc).split())[:300] or type(exc).__name__
    return BrokenModelError(
        f"the model's chat template {what} ({file}{place}): {text}",
        hint="correct the template, download the model again, or use another conversion of it",
    )


def _line(exc: Exception) -> int:
    """The template's line that raised; 0 where none is known."""
    frames = traceback.extract_tb(exc.__traceback__)
    return next((f.lineno or 0 for f in reversed(frames) if f.filename in ("<template>", "<unknown>")), 0)
