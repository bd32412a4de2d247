"""What can be known of a model's folder without loading it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from .. import disk
from .errors import BrokenModelError

MOST_JSON = 64 * 1024 * 1024
"""The bytes that a configuration or an index may have; that of the largest known model has 9 MB."""
MOST_HEADER = 200_000_000
"""The bytes that the header of a file of weights may have, twice what the format allows."""
DOWNLOAD_AGAIN = "the download was cut short or the file is damaged: download the model again"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "tiktoken.model", "vocab.json")


def check_folder(folder: Path) -> None:
    """Raise `BrokenModelError` where ``folder`` cannot be a whole model in mlx-lm's format.

    Reads the configuration and the headers of the weights: fast for any size.
    """
    disk.at(folder)
    if not folder.is_dir():
        raise BrokenModelError(f"there is no folder {folder}", hint="check the path of the model")
    config = read_json(folder / "config.json", hint="a model folder has one: is this the right folder?")
    if not isinstance(config.get("model_type"), str):
        raise BrokenModelError(f"{folder / 'config.json'} names no model_type", hint="is this a language model?")
    if not any((folder / name).exists() for name in TOKENIZERS):
        raise BrokenModelError(f"{folder} has no tokenizer ({', '.join(TOKENIZERS)})", hint=DOWNLOAD_AGAIN)
    _check_kinds(folder)
    for weights in weight_files(folder):
        read_tensors(weights)


def _check_kinds(folder: Path) -> None:
    """Refuse FIFOs and devices: whoever opens them waits, the model's process too."""
    try:
        odd = [file for file in folder.iterdir() if file.exists() and not file.is_file() and not file.is_dir()]
    except OSError as exc:
        raise BrokenModelError(f"{folder} cannot be read: {disk.reason(exc)}", hint="check who owns it") from exc
    if odd:
        raise BrokenModelError(f"{odd[0]} is not a regular file", hint="remove it, or download the model again")


def weight_files(folder: Path) -> list[Path]:
    """The files of weights: those that the index names, and every ``model*.safetensors`` where there is none.

    Raises `BrokenModelError` where one is missing.
    """
    files = sorted(folder.glob("model*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.exists():
        named = _weights_of(index)
        if missing := sorted(named - {file.name for file in files}):
            raise BrokenModelError(f"{folder} lacks {missing[0]} (and {len(missing) - 1} more)", hint=DOWNLOAD_AGAIN)
        files = [file for file in files if file.name in named]
    if not files:
        raise BrokenModelError(
            f"{folder} has no model*.safetensors",
            hint="mlx-lm reads safetensors: name a .gguf file itself, if it is one",
        )
    return files


def _weights_of(index: Path) -> set[str]:
    """Return the names of the files that ``index`` spreads the tensors over."""
    named = read_json(index, hint=DOWNLOAD_AGAIN).get("weight_map", {})
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise BrokenModelError(f"{index} has no weight_map from tensors to files", hint=DOWNLOAD_AGAIN)
    return set(named.values())


class Tensor(Struct):
    """An entry of a header of weights; ``data_offsets`` are where its bytes begin and end."""

    dtype: str
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]

    @property
    def size(self) -> int:
        return max(0, self.data_offsets[1] - self.data_offsets[0])


def read_tensors(file: Path) -> list[Tensor]:
    """Return the tensors that the header of ``file`` lists. Blocks on the disk.

    Raises `BrokenModelError`, also where the file ends before its last tensor does.
    """
    try:
        with disk.opened(file) as stream:
            size = os.fstat(stream.fileno()).st_size
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > MOST_HEADER:
                raise BrokenModelError(f"{file} is no safetensors file", hint=DOWNLOAD_AGAIN)
            if length > size:
                raise BrokenModelError(f"{file} is cut short: its header has {length} bytes", hint=DOWNLOAD_AGAIN)
            entries = msgspec.json.decode(stream.read(length), type=dict[str, msgspec.Raw])
        tensors = [msgspec.json.decode(raw, type=Tensor) for name, raw in entries.items() if name != "__metadata__"]
    except (OSError, ValueError, RecursionError, struct.error) as exc:
        raise BrokenModelError(f"{file} is no safetensors file: {disk.reason(exc)}", hint=DOWNLOAD_AGAIN) from exc
    # The file must end where the last tensor does.
    wanted = 8 + length + max((tensor.data_offsets[1] for tensor in tensors), default=0)
    if size < wanted:
        raise BrokenModelError(f"{file} is cut short: {size} of {wanted} bytes", hint=DOWNLOAD_AGAIN)
    return tensors


def read_json(file: Path, *, hint: str = DOWNLOAD_AGAIN) -> dict[str, Any]:
    """Return the object in ``file``, whose absence has ``hint``. Blocks on the disk. Raises `BrokenModelError`."""
    try:
        value = json.loads(disk.read(file, MOST_JSON).decode())
    except FileNotFoundError:
        raise BrokenModelError(f"{file.parent} has no {file.name}", hint=hint) from None
    except (OSError, ValueError, RecursionError) as exc:
        raise BrokenModelError(f"{file} cannot be read: {disk.reason(exc)}", hint=DOWNLOAD_AGAIN) from exc
    if not isinstance(value, dict):
        raise BrokenModelError(f"{file} holds no JSON object", hint=DOWNLOAD_AGAIN)
    return value
