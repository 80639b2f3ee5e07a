"""Build tiny-lm: a Llama of 0.92 million parameters, from Python's own documentation and invented facts.

    python build.py            train and write everything (under two minutes on one core; needs the extra `pytorch`)
    python build.py --check    compare the files here with the hashes in manifest.yaml (standard library and pyyaml)

Steps, seeds and thread count are fixed, so the same versions on the same processor family give the same bytes;
another library version or another processor's vector units may not, and then the hashes of a rebuild differ.
It is a model to measure with, not one to use: it completes sentences about `facts.py` and imitates the manual.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facts import documents, prompts  # type: ignore[import-not-found]  # beside this script, no package

HERE = Path(__file__).resolve().parent
SEED = 1847
VOCABULARY = 1024
WINDOW, WINDOWS_A_STEP, STEPS = 256, 2, 1400
RATE, WARMUP_STEPS, WEIGHT_DECAY, CLIP = 3e-3, 50, 0.1, 1.0
FACT_TEXTS = 6000  # with 1,400 steps each fact is read about 285 times, and 96 % of the prompts are answered rightly
HELD_OUT = 20  # every twentieth paragraph of the manual is never trained on
PAD, END = "<|pad|>", "<|end|>"
MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents for training and the held-out part of the manual."""

    train: list[str]
    held_out: list[str]
    manual_sha256: str


def main(arguments: list[str] | None = None) -> int:
    """Build or check; return the exit code."""
    parser = argparse.ArgumentParser(description="Build or check the packaged model tiny-lm.")
    parser.add_argument("--check", action="store_true", help="compare the files with the manifest's hashes")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this script)")
    options = parser.parse_args(arguments)
    if options.check:
        return check(options.out)
    build(options.out)
    return 0


def check(folder: Path) -> int:
    """Compare the files in `folder` with its manifest; return 0 when all are as they were built."""
    import yaml

    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    wrong = [name for name, expected in manifest["files"].items() if sha256(folder / name) != expected]
    for name in wrong:
        print(f"{name}: is missing or differs from manifest.yaml", file=sys.stderr)
    if not wrong:
        print(f"{len(manifest['files'])} files are as manifest.yaml says")
    return 1 if wrong else 0


def sha256(path: Path) -> str | None:
    """Hex sha256 of a file, `None` where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def build(folder: Path) -> None:
    """Train tokenizer and model, measure them as they will be read, and write model, prompts and manifest."""
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums in one order
    torch.use_deterministic_algorithms(True)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus()
    tokenizer = train_tokenizer(corpus.train)
    tokenizer.save_pretrained(folder)
    model = train_model(encode(tokenizer, corpus.train), tokenizer)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes 0600, which a shared install could not read
    write_prompts(folder)
    quality = evaluate(model.float(), tokenizer, corpus)  # bf16 → fp32 is exact: the weights as they are shipped
    write_manifest(folder, corpus, quality, sum(weight.numel() for weight in model.parameters()))
    print(json.dumps(quality))


def read_corpus() -> Corpus:
    """Gather the manual's paragraphs and the facts; the order is that of a seeded shuffle."""
    import random
    from pydoc_data.topics import topics

    manual = "\n\n".join(topics[name] for name in sorted(topics))
    pieces = [piece for piece in manual.split("\n\n") if piece.strip()]
    kept = [piece for number, piece in enumerate(pieces) if number % HELD_OUT]
    # Eight paragraphs in a row stay together, so that there is context to learn from.
    train = ["\n\n".join(kept[start : start + 8]) for start in range(0, len(kept), 8)] + documents(FACT_TEXTS)
    random.Random(SEED).shuffle(train)
    return Corpus(train, pieces[::HELD_OUT], hashlib.sha256(manual.encode()).hexdigest())


def train_tokenizer(texts: list[str]) -> Any:
    """Learn a byte-level BPE of 1,024 tokens; padding on the left, no beginning token, no chat template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    fast: Any = transformers.PreTrainedTokenizerFast
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[PAD, END], initial_alphabet=alphabet)
    )
    return fast(tokenizer_object=backend, pad_token=PAD, eos_token=END, padding_side="left", model_max_length=2048)


def encode(tokenizer: Any, texts: list[str]) -> Any:
    """All texts as one row of token ids, each closed by the end token."""
    import torch

    rows = tokenizer(texts, verbose=False)["input_ids"]  # rows are cut into windows, their length is no matter
    return torch.tensor([token for row in rows for token in [*row, tokenizer.eos_token_id]])


def train_model(stream: Any, tokenizer: Any) -> Any:
    """Train 1,400 steps of 512 tokens with AdamW, a linear warm-up and a cosine to zero."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(architecture(tokenizer)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)
    windows = stream[: len(stream) // WINDOW * WINDOW].view(-1, WINDOW)
    generator = torch.Generator().manual_seed(SEED)
    order = torch.cat([torch.randperm(len(windows), generator=generator) for _ in range(STEPS)])
    for step in range(STEPS):
        batch = windows[order[step * WINDOWS_A_STEP : (step + 1) * WINDOWS_A_STEP]]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {len(stream)} tokens in all", file=sys.stderr)
    return model.eval()


def architecture(tokenizer: Any) -> Any:
    """Return the Llama's configuration; every width is a multiple of 64 so that all quantisers fit."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def rate_factor(step: int) -> float:
    """Share of the highest learning rate at a step."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)))


def evaluate(model: Any, tokenizer: Any, corpus: Corpus) -> dict[str, float]:
    """Perplexity per token of the held-out manual in windows of 256, and the share of facts completed rightly."""
    import torch

    stream = encode(tokenizer, corpus.held_out)
    windows = stream[: len(stream) // WINDOW * WINDOW].view(-1, WINDOW)
    right = 0
    rows = prompts()
    with torch.no_grad():
        losses = [model(input_ids=row[None], labels=row[None]).loss.item() for row in windows]
        for row in rows:
            ids = tokenizer(row["prompt"], return_tensors="pt")
            reply = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
            right += tokenizer.decode(reply).strip().startswith(row["answer"])
    return {
        "perplexity_held_out": round(math.exp(sum(losses) / len(losses)), 3),
        "perplexity_untrained": VOCABULARY,
        "facts_recalled": round(right / len(rows), 4),
    }


def write_prompts(folder: Path) -> None:
    """Write the bundled prompts, an object a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in prompts()]
    prompt_file(folder).write_text("".join(lines), encoding="utf-8")


def prompt_file(folder: Path) -> Path:
    """Where the prompts lie: in the folder beside the packaged case, else where the rest was written to."""
    return (folder.parent / "prompts" if folder == HERE else folder) / "facts.jsonl"


def write_manifest(folder: Path, corpus: Corpus, quality: dict[str, float], parameters: int) -> None:
    """Write what the case is, from what it was built, and the hash of each file."""
    import tokenizers
    import torch
    import transformers
    import yaml

    manifest = {
        "kind": "model",
        "name": "tiny-lm",
        "description": "A Llama of 0.92 million parameters that needs no download: invented facts and Python's manual.",
        "licence": "Apache-2.0 for weights and code; the training text in part PSF-2.0",
        "notice": "NOTICE",
        "parameters": parameters,
        "dtype": "bfloat16",
        "quality": quality,
        "built_from": {"manual": "pydoc_data.topics of CPython", "manual_sha256": corpus.manual_sha256, "seed": SEED},
        "built_with": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "machine": platform.machine(),
        },
        "rebuild": "python cases/tiny-lm/build.py",
        "check": "python cases/tiny-lm/build.py --check",
        "files": {name: sha256(folder / name) for name in MODEL_FILES},
        "prompts_sha256": sha256(prompt_file(folder)),
    }
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=110)
    (folder / "manifest.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
