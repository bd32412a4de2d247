"""Everything routerd uses of mlx_lm: a new version of it means reading this file, and no other.

Importing this takes a second; nothing outside the worker does.
"""

from __future__ import annotations

import copy
import importlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.generate import BatchGenerator, StopSequences, generate_step, generation_stream, make_text_state_machine
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors, make_sampler
from mlx_lm.utils import load_adapters, load_config, load_model, load_tokenizer

from ..models.errors import BrokenModelError
from ..models.folder import weight_files
from . import defaults
from .formats import table
from .formats.blocks import Parser, parsed, whole
from .formats.grammar import Family, Grammar, Tag
from .formats.harmony import Harmony
from .formats.machine import Machine
from .formats.reading import Tools
from .formats.segments import Segmenter
from .formats.tagged import Tagged
from .literal import Literal
from .spelling import Spelling
from .template import check_template
from .thinking import template_words

__all__ = [
    "KvCaches",
    "Model",
    "Share",
    "apply_min_p",
    "apply_top_k",
    "apply_top_p",
    "flattened",
    "generate_step",
    "generation_stream",
    "load",
    "make_logits_processors",
    "make_prompt_cache",
    "make_sampler",
]

CACHE_LIMIT = 512 * 1024 * 1024
"""Bytes of freed buffers that mlx may keep for reuse; without a limit it keeps all of them."""
EVAL_BYTES = 64 * 1024 * 1024
THINK_TAIL = 11
"""A template that opens the reasoning does so within this many of the prompt's last tokens."""

# Its warnings (a prompt over the context, say) are answered in words of our own.
logging.getLogger("transformers").setLevel(logging.ERROR)


class _WithoutTools:
    """A tokenizer as `make_text_state_machine` sees it, for answers to requests that offer no tools."""

    has_tool_calling = False

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def tool_parser(name: str) -> Parser:
    """Return mlx-lm's parser of that name."""
    parser: Parser = importlib.import_module(f"mlx_lm.tool_parsers.{name}").parse_tool_call
    return parser


@cache
def families() -> Family:
    """Return the table of markers, built once."""
    return table.family(tool_parser)


class Share(NamedTuple):
    """The part of the machine's memory that this process may have: ``memory`` bytes in all, 0 for what mlx itself
    allows, and of them ``buffers`` that were freed and are kept for reuse."""

    memory: int = 0
    buffers: int = CACHE_LIMIT


class Model:
    """A loaded model with its tokenizer. ``vocab`` is 0 until the warm-up has measured it."""

    def __init__(self, model: Any, tokenizer: Any, context: int, defaults: dict[str, Any]) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.context = context
        self.defaults = defaults
        self.vocab = 0
        self.share = Share()
        self.longest_token = max(map(len, tokenizer.get_vocab()), default=1)
        template = str(tokenizer.chat_template or "")
        self.grammar = Grammar(families(), _added_tokens(tokenizer), template, another=_own_tag(tokenizer))
        special, answer = _special_tokens(tokenizer), _answer_markers(tokenizer) | self.grammar.texts
        self.markers = Literal(special | answer)
        self.turn_markers = Literal(special - answer)
        self._atoms = _atoms(tokenizer)
        self._spelling = Spelling(tokenizer)

    @property
    def ends(self) -> list[int]:
        """The tokens that end its answers."""
        return list(self.tokenizer.eos_token_ids)

    @property
    def tools(self) -> bool:
        """True if the model is shown tools and its calls can be parsed."""
        return self.grammar.calls

    @property
    def reasoning(self) -> bool:
        return self.grammar.reasoning or self.grammar.harmony or bool(self.tokenizer.has_thinking)

    @property
    def has_chat_template(self) -> bool:
        return bool(self.tokenizer.has_chat_template)

    @property
    def template_words(self) -> list[str] | None:
        """Names in the template's code, none where there is no template; None where mlx-lm has it as code."""
        return None if self.has_chat_template and not self.template else template_words(self.template)

    @property
    def template(self) -> str:
        """The chat template's text, of all of them where it has several; ``""`` where mlx-lm has it as code."""
        return str(self.tokenizer.chat_template or "")

    @property
    def knows_developer(self) -> bool:
        return "developer" in self.template

    def render(self, messages: list[dict[str, Any]], **arguments: Any) -> str:
        """The prompt's text. Raises whatever the model's template raises."""
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **arguments)
        return str(text)

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=special))

    def cuts(self, text: str) -> Iterator[int]:
        """Where ``text`` may be cut, and its parts encoded each by itself to the same tokens."""
        return (match.start() for match in self._atoms.finditer(text)) if self._atoms else iter(())

    def initial_state(self, rendered: str) -> str:
        """Return the state in which an answer to the prompt ``rendered`` starts.

        It is ``normal``, ``reasoning`` if the template has opened it, or ``header``.
        """
        end = rendered.rstrip()
        if self.tokenizer.response_initial_state:
            return str(self.tokenizer.response_initial_state)
        if self.grammar.harmony:
            analysis = end.endswith("analysis<|message|>")
            return "reasoning" if analysis else "header" if end.endswith("<|start|>assistant") else "normal"
        openings = [self.grammar.marks.plain(pair.open) for pair in self.grammar.pairs]
        return "reasoning" if any(end.endswith(opening) for opening in openings) else "normal"

    def lasting(self, prompt: list[int]) -> int:
        """How many tokens of ``prompt`` the conversation's next turn repeats: an opened reasoning it does not."""
        if not self.tokenizer.has_thinking:
            return len(prompt)
        start = self.tokenizer.rfind_think_start(prompt, start=max(0, len(prompt) - THINK_TAIL))
        return int(start) if start >= 0 else len(prompt)

    def segmenter(self, initial: str, tools: Tools, *, fresh: bool = True) -> Segmenter:
        """Make a segmenter for an answer that starts in ``initial``. ``fresh``: False if it continues a beginning."""
        if self.tokenizer.response_initial_state:
            machine = make_text_state_machine(self.tokenizer if tools else _WithoutTools(self.tokenizer))
            return Machine(machine, initial, parsed(self.tokenizer.tool_parser), tools, self.grammar.marks)
        opened = initial == "reasoning"
        if self.grammar.harmony:
            return Harmony(self.grammar.marks, tools, opened=opened, header=initial == "header")
        return Tagged(self.grammar, tools, opened=opened, fresh=fresh)

    def detokenizer(self) -> Any:
        return self.tokenizer.detokenizer

    def token_text(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))

    def token_bytes(self, token: int) -> bytes | None:
        """Return the bytes that ``token`` adds to a text, None if unknown."""
        return self._spelling.of(token)

    def generator(self, concurrency: int) -> Any:
        """A fresh `BatchGenerator` for up to ``concurrency`` answers at once, memory limits set for it."""
        generator = BatchGenerator(
            self.model,
            stop_tokens=[(token,) for token in self.ends],
            completion_batch_size=concurrency,
            prefill_batch_size=concurrency,
        )
        # Constructing it wires all the memory the device recommends; several processes may not do so each.
        generator.close()
        self.limit_memory()
        return generator

    def limit_memory(self) -> None:
        """Set what mlx may wire, take and keep: the weights, and this process's share."""
        if mx.metal.is_available():
            mx.set_wired_limit(sum(array.nbytes for _, array in tree_flatten(self.model.parameters())))
        mx.set_cache_limit(self.share.buffers)
        if self.share.memory:
            mx.set_memory_limit(self.share.memory)

    @property
    def single_precision(self) -> bool:
        """Whether it computes in 32 bits alone: whatever is off there by more than a little is a mistake."""
        return all(array.dtype == mx.float32 for _, array in tree_flatten(self.model.parameters()))


def _special_tokens(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {str(token) for token in added.values() if token.special} | set(tokenizer.all_special_tokens)


def _own_tag(tokenizer: Any) -> Tag | None:
    """Return the tag that mlx-lm itself would use."""
    if not tokenizer.has_tool_calling:
        return None
    read = whole(parsed(tokenizer.tool_parser), re.compile(".*", re.DOTALL))
    return Tag(tokenizer.tool_call_start, tokenizer.tool_call_end or "", r"\s*\S", read)


def _added_tokens(tokenizer: Any) -> Mapping[int, str]:
    return {id_: str(token) for id_, token in getattr(tokenizer, "added_tokens_decoder", {}).items()}


def _atoms(tokenizer: Any) -> re.Pattern[str] | None:
    """What the tokenizer takes out of a text before anything else; None where that reaches beyond its own letters."""
    tokens = [t for t in getattr(tokenizer, "added_tokens_decoder", {}).values() if not t.normalized and t.content]
    if not tokens or not tokenizer.is_fast or any(token.lstrip or token.single_word for token in tokens):
        return None
    # As the tokenizer does: of those that begin at one place, the longest. Grouped by how they begin, because some
    # have thousands.
    groups: dict[str, list[str]] = {}
    for text in sorted((token.content for token in tokens), key=len, reverse=True):
        groups.setdefault(text[:2], []).append(re.escape(text[2:]))
    return re.compile("|".join(f"{re.escape(head)}(?:{'|'.join(rests)})" for head, rests in groups.items()))


def _answer_markers(tokenizer: Any) -> set[str]:
    """What opens and closes reasoning and tool calls: often plain entries of the vocabulary."""
    names = ("think_start", "think_end", "tool_call_start", "tool_call_end")
    return {text for name in names if (text := getattr(tokenizer, name, None))}


class KvCaches:
    """What the prompt cache may ask of mlx-lm's caches: a list, one for each layer."""

    def size(self, cache: Any) -> int:
        return sum(layer.nbytes for layer in cache)

    def can_trim(self, cache: Any) -> bool:
        # A chunked cache says so also once it has forgotten its beginning.
        return bool(can_trim_prompt_cache(cache)) and not any(
            getattr(layer, "start_position", 0) for layer in flattened(cache)
        )

    def copy(self, cache: Any, trim: int) -> Any:
        copied = copy.deepcopy(cache)
        if trim:
            trim_prompt_cache(copied, trim)
        return copied


def flattened(cache: Any) -> Iterator[Any]:
    """The caches in ``cache``, those that a layer has several of one by one."""
    for layer in cache:
        yield from flattened(layer.caches) if hasattr(layer, "caches") else (layer,)


def settle(cache: Any) -> Any:
    """``cache``, computed: until then it holds on to the whole batch it was taken from."""
    mx.eval([layer.state for layer in cache])
    return cache


def load(folder: Path, report: Callable[[float], None], adapter: Path | None = None) -> Model:
    """Load the model in ``folder`` from local files only; ``report`` gets the fraction of bytes read.

    ``adapter`` is a folder with a fine-tuning of it, as mlx-lm writes them. Blocks. Raises
    `BrokenModelError` for the tokenizer and the adapter, and whatever mlx_lm or mlx raise for the rest.
    """
    with _without_strays(folder) as view:
        model, config = load_model(view, lazy=True)
        if adapter is not None:
            _apply_adapter(model, adapter)
        tokenizer = _load_tokenizer(folder, config)
        _read_weights(model, report)
    return Model(model, tokenizer, defaults.context(config, tokenizer), defaults.sampling(folder))


def outline(folder: Path) -> Model:
    """The model in ``folder`` without its weights, for whoever needs its tokenizer, template and shape alone.

    Blocks. Raises as `load` does.
    """
    with _without_strays(folder) as view:
        model, config = load_model(view, lazy=True)
    tokenizer = _load_tokenizer(folder, config)
    outlined = Model(model, tokenizer, defaults.context(config, tokenizer), defaults.sampling(folder))
    outlined.vocab = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size") or len(tokenizer)
    return outlined


def tokenizing(folder: Path) -> Model:
    """The tokenizer and the template of the model in ``folder``, and nothing to compute with.

    Blocks. Raises as `load` does.
    """
    config = load_config(folder)
    tokenizer = _load_tokenizer(folder, config)
    return Model(None, tokenizer, defaults.context(config, tokenizer), {})


def indivisible(model: Model, ranks: int) -> str:
    """Why mlx-lm's server cannot run ``model`` on so many ranks; empty where nothing is known against it."""
    heads = getattr(getattr(model.model, "args", None), "num_attention_heads", 0)
    if not hasattr(model.model, "shard"):
        return "mlx-lm does not divide this architecture"
    if heads % ranks:
        return f"its {heads} attention heads do not come out even on {ranks} ranks"
    if not all(hasattr(layer, "merge") for layer in make_prompt_cache(model.model)):
        # The server would answer one request at a time, and the ranks part for good where one is cancelled.
        return "mlx-lm does not batch this architecture"
    if not model.has_chat_template:
        return "it has no chat template, and the server would use one of its own"
    return ""


@contextmanager
def _without_strays(folder: Path) -> Iterator[Path]:
    """Give ``folder`` without weights that its index does not name, as mlx-lm would load them too. It is made of links,
    and there while the block runs."""
    wanted = {file.name for file in weight_files(folder)}
    strays = {file.name for file in folder.glob("model*.safetensors")} - wanted
    if not strays:
        yield folder
        return
    with TemporaryDirectory() as view:
        for file in folder.iterdir():
            if file.name not in strays:
                Path(view, file.name).symlink_to(file.resolve())
        yield Path(view)


def _apply_adapter(model: Any, folder: Path) -> None:
    hint = f"an adapter is made for one model: {folder} must be mlx-lm's own output for this one"
    for name in ("adapter_config.json", "adapters.safetensors"):
        if not (folder / name).is_file():
            raise BrokenModelError(f"the adapter cannot be loaded: there is no {folder / name}", hint=hint)
    try:
        load_adapters(model, str(folder))
        untrained = _untrained(model, folder / "adapters.safetensors")
        # Fine-tuning layers are made for training; with dropout on, no answer would be the same twice.
        model.eval()
    except Exception as exc:  # shapes, keys of the configuration, damaged files: each raises its own
        text = " ".join(str(exc).split())[:500]
        raise BrokenModelError(f"the adapter cannot be loaded: {text or type(exc).__name__}", hint=hint) from exc
    if untrained:
        found = f"it has nothing for {len(untrained)} of the layers it names, such as {untrained[0]}"
        raise BrokenModelError(f"the adapter cannot be loaded: {found}", hint=hint)


def _untrained(model: Any, weights: Path) -> list[str]:
    """Parameters of fine-tuning layers that the file does not have: mlx-lm leaves them as they are before training.

    The other way round, tensors that have no place in the model, it refuses itself.
    """
    given = mx.load(str(weights))
    names = [name for name, _ in tree_flatten(model.parameters())]
    return [name for name in names if name.rpartition(".")[2] in ("lora_a", "lora_b", "m") and name not in given]


def _load_tokenizer(folder: Path, config: dict[str, Any]) -> Any:
    try:
        # False, not None: None asks on the terminal whether to run the folder's own code.
        settings = {"trust_remote_code": False}
        tokenizer = load_tokenizer(folder, settings, eos_token_ids=config.get("eos_token_id"))
    except Exception as exc:  # transformers raises whatever a damaged file leads to, KeyErrors too
        raise BrokenModelError(
            f"the tokenizer cannot be loaded: {exc!r}",
            hint="its tokenizer files or config.json are damaged, or do not fit each other: download the model again",
        ) from exc
    if tokenizer.has_chat_template:
        check_template(tokenizer, folder)
    return tokenizer


def _read_weights(model: Any, report: Callable[[float], None]) -> None:
    arrays = [array for _, array in tree_flatten(model.parameters())]
    total = sum(array.nbytes for array in arrays) or 1
    batch: list[Any] = []
    done = size = 0
    for array in arrays:
        batch.append(array)
        size += array.nbytes
        if size >= EVAL_BYTES:
            mx.eval(batch)
            done, size, batch = done + size, 0, []
            report(done / total)
    mx.eval(batch)
    report(1.0)


def versions() -> dict[str, str]:
    return {"mlx": version("mlx"), "mlx_lm": version("mlx-lm")}


def memory() -> tuple[int, int, int]:
    """Bytes mlx has in use, the most since the last call, and those kept for reuse."""
    active = mx.get_active_memory()
    # After a reset mlx says 0 until the next allocation.
    peak = max(active, mx.get_peak_memory())
    mx.reset_peak_memory()
    return active, peak, mx.get_cache_memory()


def stop_sequences(tokens: list[int]) -> Any:
    """What a generator is given so that each of ``tokens`` ends an answer."""
    return StopSequences([(token,) for token in tokens])


def is_finite(value: Any) -> bool:
    return bool(mx.isfinite(value).item())


def likeliest(logprobs: Any, count: int) -> list[tuple[int, float]]:
    """The ``count`` likeliest tokens with their log probabilities, likeliest first."""
    ids = mx.argpartition(-logprobs, kth=count - 1)[:count]
    found: Any = ids.tolist(), logprobs[ids].tolist()
    return sorted(zip(*found, strict=True), key=lambda pair: -pair[1])
