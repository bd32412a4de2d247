"""A whole model of some hundred kilobytes: random weights, a real tokenizer, a real chat template."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|im_end|>"
CHATML = (
    "{% if refuse %}{{ raise_exception('refused') }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{{ message['content'] }}"
    "{% for tool_call in message.tool_calls or [] %}"
    "<tool_call>{{ tool_call.function | tojson }}</tool_call>{% endfor %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TOOLS = "{% if tools %}<tools>{{ tools | tojson }}</tools>{# <tool_call> tool_call.name #}\n{% endif %}"
OPEN_THINKING = "{% if add_generation_prompt and open_thinking %}{{ '<think>' }}{% endif %}"
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "a model routes each request to the place that can answer it",
    "one two three four five six seven eight nine ten",
]


def make_tiny_model(
    folder: Path,
    *,
    vocab: int = 384,
    context: int = 2048,
    reasoning: bool = False,
    tools: bool = False,
    template: bool = True,
    window: int | None = None,
    hidden: int = 64,
    seed: int = 0,
) -> Path:
    """Write a 2-layer llama in float32 to ``folder`` and return it. It loads in a tenth of a second.

    ``reasoning`` adds ``<think>`` and ``</think>`` to the vocabulary, ``tools`` makes mlx-lm parse
    JSON in ``<tool_call>`` tags. The template opens the reasoning itself where asked to by the
    argument ``open_thinking``, and raises where given ``refuse``. Without ``template`` the model knows no chat.
    With ``window`` its first layer sees that many tokens only, and forgets those before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specials = ["<|endoftext|>", "<|im_start|>", END] + ["<think>", "</think>"] * reasoning
    tokenizer = tiny_tokenizer(vocab, specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "bos_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
    }
    if template:
        settings["chat_template"] = TOOLS * tools + CHATML + OPEN_THINKING
    _write(folder / "tokenizer_config.json", settings)
    shape: dict[str, object] = {
        "hidden_size": hidden,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": context,
        "eos_token_id": tokenizer.token_to_id(END),
    }
    if window:
        shape |= {"sliding_window": window, "layer_types": ["sliding_attention", "full_attention"]}
    _save_weights(folder, shape, seed)
    return folder


def make_adapter(folder: Path, model: Path, *, scale: float = 20.0, rank: int = 2, seed: int = 1) -> Path:
    """Write a random LoRA adapter for the tiny model in ``model`` to ``folder``; ``scale`` 0 changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = json.loads((model / "config.json").read_text())["hidden_size"]
    parameters = {"rank": rank, "scale": scale, "dropout": 0.5, "keys": ["self_attn.q_proj"]}
    config = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    _write(folder / "adapter_config.json", config)
    mx.random.seed(seed)
    shapes = {"lora_a": (hidden, rank), "lora_b": (rank, hidden)}
    names = [f"model.layers.{layer}.self_attn.q_proj." for layer in range(2)]
    weights = {name + part: mx.random.normal(shape) for name in names for part, shape in shapes.items()}
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    return folder


def tiny_tokenizer(vocab: int, specials: list[str]) -> Tokenizer:
    """A byte-level tokenizer of up to ``vocab`` entries, ``specials`` among them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in specials])
    return tokenizer


def _save_weights(folder: Path, shape: dict[str, object], seed: int) -> None:
    config = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    } | shape
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(config))
    weights = dict(tree_flatten(model.parameters()))
    # An end token that never wins: answers last as long as a test wants them to.
    weights["lm_head.weight"][config["eos_token_id"]] = 0.0
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    _write(folder / "config.json", config)


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value))
