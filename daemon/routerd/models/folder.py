"""What can be known of a model's folder without loading it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from .errors import BrokenModelError

DOWNLOAD_AGAIN = "the download was cut short or the file is damaged: download the model again"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "tiktoken.model", "vocab.json")


def check_folder(folder: Path) -> None:
    """Raise `BrokenModelError` where ``folder`` cannot be a whole model in mlx-lm's format.

    Reads the configuration and the headers of the weights: fast for any size.
    """
    if not folder.is_dir():
        raise BrokenModelError(f"there is no folder {folder}", hint="check the path of the model")
    config = _read_json(folder / "config.json", hint="a model folder has one: is this the right folder?")
    if not isinstance(config.get("model_type"), str):
        raise BrokenModelError(f"{folder / 'config.json'} names no model_type", hint="is this a language model?")
    if not any((folder / name).exists() for name in TOKENIZERS):
        raise BrokenModelError(f"{folder} has no tokenizer ({', '.join(TOKENIZERS)})", hint=DOWNLOAD_AGAIN)
    for weights in weight_files(folder):
        _check_safetensors(weights)


def weight_files(folder: Path) -> list[Path]:
    """The files of weights: those that the index names, and every ``model*.safetensors`` where there is none.

    Raises `BrokenModelError` where one is missing.
    """
    files = sorted(folder.glob("model*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = set(_read_json(index, hint=DOWNLOAD_AGAIN).get("weight_map", {}).values())
        if missing := sorted(named - {file.name for file in files}):
            raise BrokenModelError(f"{folder} lacks {missing[0]} (and {len(missing) - 1} more)", hint=DOWNLOAD_AGAIN)
        files = [file for file in files if file.name in named]
    if not files:
        raise BrokenModelError(
            f"{folder} has no model*.safetensors",
            hint="mlx-lm reads safetensors: name a .gguf file itself, if it is one",
        )
    return files


def _check_safetensors(file: Path) -> None:
    """The header says where the last tensor ends, which is where the file must end."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            # Twice what the format allows; a damaged length must not become an allocation.
            header = json.loads(stream.read(min(length, 200_000_000)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError) as exc:
        raise BrokenModelError(f"{file} is no safetensors file: {exc}", hint=DOWNLOAD_AGAIN) from exc
    wanted, size = 8 + length + max(ends, default=0), file.stat().st_size
    if size < wanted:
        raise BrokenModelError(f"{file} is cut short: {size} of {wanted} bytes", hint=DOWNLOAD_AGAIN)


def _read_json(file: Path, *, hint: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrokenModelError(f"{file.parent} has no {file.name}", hint=hint) from None
    except (OSError, ValueError) as exc:
        raise BrokenModelError(f"{file} cannot be read: {exc}", hint=DOWNLOAD_AGAIN) from exc
    if not isinstance(value, dict):
        raise BrokenModelError(f"{file} holds no JSON object", hint=DOWNLOAD_AGAIN)
    return value
