#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains data/small-model from nothing: tokenizer, weights, and the score on data/tasks.jsonl.

    tools/train_small_model.py --out DIR

Needs torch, transformers, tokenizers, safetensors and numpy; made with torch 2.11 and transformers 5.17. With one H100
it takes a few minutes; on a CPU it runs, for trying the script with few --steps, but would need days.

Every training batch is a function of (seed, step) alone and holds questions of the train split of make_tasks.py only.
The loss counts the assistant's tokens and the <|im_end|> after them. DIR/model gets the Hugging Face layout with
bfloat16 weights; what is scored at the end is that directory, read back and computed in float32.
"""

import argparse
import collections
import json
import math
import multiprocessing
import os
import platform
import random
import sys
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the batch makers are processes already

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

import make_tasks

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2: padding, begin, end of turn
VOCABULARY_SIZE = 1024
ROW_TOKENS = 256  # of a training row; several dialogues share one, each sees only itself
NO_TARGET = -100
# Held-out rows of other seeds than these are free for anyone's experiments.
TEST_SEED, VALIDATION_SEED = 1, 2
# Tasks that take longest to learn are asked more often.
TASK_WEIGHTS = {"add": 3.0, "subtract": 3.0, "sort-words": 2.5, "sort": 1.5, "reverse-letters": 1.5, "spell": 1.5,
                "upper": 1.5, "lower": 1.5, "parity": 0.5, "count-up": 0.7}

# ChatML, as a Jinja template; render() below says the same in Python.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 256,
    "initializer_range": 0.02,
    "intermediate_size": 512,
    "max_position_embeddings": 1024,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCABULARY_SIZE,
}


def render(messages: list[dict]) -> str:
    return "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)


def train_tokenizer(seed: int) -> Tokenizer:
    """Byte-level BPE with single digits. Merges are learnt from ASCII dialogues only, so that every other character
    stays a sequence of byte tokens."""
    rng = random.Random(f"tokenizer-{seed}")
    texts = []
    for _ in range(60000):
        messages, question = make_tasks.make_dialogue(rng, "train")
        texts += [message["content"] for message in messages] + [question.answer, "system\nuser\nassistant\n"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    tokenizer.train_from_iterator((text for text in texts if text.isascii()), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY_SIZE:
        raise ValueError(f"vocabulary has {tokenizer.get_vocab_size()} tokens, {VOCABULARY_SIZE} were asked for")
    return tokenizer


class DialogueEncoder:
    """Dialogues to token ids and to targets: NO_TARGET except for what the assistant must say."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.begin, self.end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
        self.assistant = tokenizer.encode("assistant\n").ids

    def encode(self, dialogues: list[list[dict]]) -> list[tuple[list[int], list[int]]]:
        encodings = self.tokenizer.encode_batch_fast([render(messages) for messages in dialogues])
        return [(encoding.ids, self.targets(encoding.ids)) for encoding in encodings]

    def targets(self, ids: list[int]) -> list[int]:
        """targets[i] is the token that should follow ids[i]."""
        targets = [NO_TARGET] * len(ids)
        header = len(self.assistant) + 1
        for start, token in enumerate(ids):
            if token == self.begin and ids[start + 1:start + header] == self.assistant:
                stop = ids.index(self.end, start)
                targets[start + header - 1:stop] = ids[start + header:stop + 1]
        return targets


def make_batch(encoder: DialogueEncoder, seed: int, step: int, rows: int) -> np.ndarray:
    """int16 [3, rows, ROW_TOKENS]: token ids, targets, and each token's position in its dialogue."""
    rng = random.Random(f"batch-{seed}-{step}")
    batch = np.zeros((3, rows, ROW_TOKENS), np.int16)
    batch[1] = NO_TARGET
    row = used = 0
    while row < rows:
        dialogues = []
        for _ in range(256):
            messages, question = make_tasks.make_dialogue(rng, "train", weights=TASK_WEIGHTS)
            dialogues.append(messages + [{"role": "assistant", "content": question.answer}])
        for ids, targets in encoder.encode(dialogues):
            if len(ids) > ROW_TOKENS:
                continue
            if used + len(ids) > ROW_TOKENS:
                batch[2, row, used:] = np.arange(ROW_TOKENS - used)  # padding is a dialogue of its own
                row, used = row + 1, 0
                if row == rows:
                    break
            batch[0, row, used:used + len(ids)] = ids
            batch[1, row, used:used + len(ids)] = targets
            batch[2, row, used:used + len(ids)] = np.arange(len(ids))
            used += len(ids)
    return batch


_worker: tuple = ()


def start_worker(tokenizer_json: str, seed: int, rows: int) -> None:
    global _worker
    _worker = (DialogueEncoder(Tokenizer.from_str(tokenizer_json)), seed, rows)


def worker_batch(step: int) -> np.ndarray:
    encoder, seed, rows = _worker
    return make_batch(encoder, seed, step, rows)


def batches(pool, steps: int, ahead: int):
    """Batches 0 … steps-1 in order, at most `ahead` of them in the making."""
    pending = collections.deque()
    for step in range(steps):
        while len(pending) < ahead and step + len(pending) < steps:
            pending.append(pool.apply_async(worker_batch, (step + len(pending),)))
        yield pending.popleft().get()


def train(model, pool, options, validation, encoder) -> dict:
    import torch

    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
                                  lr=options.learning_rate, betas=(0.9, 0.98), fused=on_gpu)

    def loss_of(ids, targets, positions):
        # Attention: earlier tokens of the same dialogue. A dialogue begins where a position is 0.
        dialogue = (positions == 0).cumsum(1)
        causal = torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool, device=ids.device).tril()
        mask = ((dialogue[:, :, None] == dialogue[:, None, :]) & causal)[:, None]
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)

    step_loss = torch.compile(loss_of, dynamic=False) if on_gpu else loss_of
    model.train()
    begin = time.monotonic()
    step = 0
    for step, batch in enumerate(batches(pool, options.steps, ahead=64)):
        progress = max(step / options.steps, (time.monotonic() - begin) / options.seconds)
        if progress >= 1.0:
            break
        rate = options.learning_rate * min(1.0, (step + 1) / 400) * 0.5 * (1.0 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, targets, positions = torch.from_numpy(batch).to(device).long()
        loss = step_loss(ids, targets, positions)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % options.report_every == 0:
            right, _ = forced_scores(model, encoder, validation, torch.bfloat16)
            print(f"step {step}  {time.monotonic() - begin:.0f} s  loss {loss.item():.5f}  rate {rate:.2e}  "
                  f"validation {100 * right.mean():.2f}%", flush=True)
            model.train()
    return {"steps": step + 1, "seconds": round(time.monotonic() - begin, 1)}


def forced_scores(model, encoder: DialogueEncoder, rows: list[dict], dtype) -> tuple[np.ndarray, np.ndarray]:
    """For each row: whether every token of the answer, its end included, is the model's first choice, and the smallest
    gap between first and second logit on the way. Greedy decoding gives exactly those tokens if and only if so."""
    import torch

    device = next(model.parameters()).device
    model.eval()
    encoded = encoder.encode([row["messages"] + [{"role": "assistant", "content": row["expected"]}] for row in rows])
    for _, targets in encoded:  # of several answers in a dialogue only the last is asked for
        for i in range(len(targets) - 3, 0, -1):
            if targets[i] == NO_TARGET and targets[i + 1] != NO_TARGET:
                targets[:i + 1] = [NO_TARGET] * (i + 1)
                break
    right, gaps = np.zeros(len(rows), bool), np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(encoded[i][0]))
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for begin in range(0, len(rows), 250):
            chosen = order[begin:begin + 250]
            width = max(len(encoded[i][0]) for i in chosen)
            ids = torch.zeros(len(chosen), width, dtype=torch.long)
            targets = torch.full((len(chosen), width), NO_TARGET)
            for k, i in enumerate(chosen):
                ids[k, :len(encoded[i][0])] = torch.tensor(encoded[i][0])
                targets[k, :len(encoded[i][1])] = torch.tensor(encoded[i][1])
            targets = targets.to(device)
            top = model(input_ids=ids.to(device), use_cache=False).logits.float().topk(2)
            asked = targets != NO_TARGET
            right[chosen] = ((top.indices[..., 0] == targets) | ~asked).all(1).cpu().numpy()
            gap = (top.values[..., 0] - top.values[..., 1]).masked_fill(~asked, math.inf).min(1).values
            gaps[chosen] = gap.cpu().numpy()
    return right, gaps


def generated_answers(model, tokenizer, rows: list[dict]) -> list[str]:
    """What the model says, greedily, through transformers' own chat template and generate()."""
    import torch

    tokenizer.padding_side = "left"
    answers = []
    for begin in range(0, len(rows), 250):
        prompts = [tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True)
                   for row in rows[begin:begin + 250]]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        with torch.no_grad():
            output = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                    do_sample=False, max_new_tokens=64)
        answers += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    return answers


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_model_directory(directory: Path, model, tokenizer: Tokenizer) -> None:
    import torch
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to("cpu", torch.bfloat16).contiguous() for name, value in model.state_dict().items()
               if name != "lm_head.weight"}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    write_json(directory / "config.json", CONFIG)
    write_json(directory / "generation_config.json",
               {"bos_token_id": 1, "do_sample": False, "eos_token_id": [2, 0], "pad_token_id": 0})
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    write_json(directory / "tokenizer_config.json", {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(i): {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
                                          "single_word": False, "special": True}
                                 for i, token in enumerate(SPECIAL_TOKENS)},
        "bos_token": "<|im_start|>",
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 1024,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    })


def score_directory(directory: Path, rows: list[dict], device: str) -> dict:
    """Scores the model as a user would load it; prints a line a task."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(device)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encoder = DialogueEncoder(Tokenizer.from_file(str(directory / "tokenizer.json")))
    answers = generated_answers(model, tokenizer, rows)
    forced, gaps = forced_scores(model, encoder, rows, torch.float32)
    rounded, _ = forced_scores(model, encoder, rows, torch.bfloat16)
    count, right = collections.Counter(), collections.Counter()
    for row, answer in zip(rows, answers):
        count[row["task"]] += 1
        right[row["task"]] += answer == row["expected"]
        if answer != row["expected"]:
            print(f"wrong: {row['id']}: {row['messages'][-1]['content']!r}: expected {row['expected']!r}, got {answer!r}")
    for task in sorted(count):
        print(f"  {task:16} {right[task]:4} of {count[task]}")
    score = {
        "rows": len(rows),
        "right": sum(right.values()),
        "right_forced": int(forced.sum()),
        "right_forced_bfloat16": int(rounded.sum()),
        "smallest_gap": round(float(gaps[forced].min()), 4) if forced.any() else None,
        "gap_1_percent": round(float(np.quantile(gaps, 0.01)), 4),
        "gap_median": round(float(np.median(gaps)), 4),
        "by_task": {task: [right[task], count[task]] for task in sorted(count)},
    }
    print({key: value for key, value in score.items() if key != "by_task"}, flush=True)
    return score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--seconds", type=float, default=480.0, help="the schedule ends here if not at --steps before")
    parser.add_argument("--batch-rows", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--report-every", type=int, default=1000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()

    tokenizer = train_tokenizer(options.seed)
    encoder = DialogueEncoder(tokenizer)
    test = list(make_tasks.make_rows(options.test_rows, TEST_SEED, "held-out"))
    validation = list(make_tasks.make_rows(2000, VALIDATION_SEED, "held-out"))
    # Before CUDA is touched: a forked process must not inherit it.
    workers = max(1, (os.cpu_count() or 2) - 1)
    with multiprocessing.get_context("fork").Pool(workers, start_worker,
                                                  (tokenizer.to_str(), options.seed, options.batch_rows)) as pool:
        import torch
        import transformers

        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(options.seed)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(CONFIG)).float().to(device)
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{parameters} parameters, {device}, {workers} batch makers", flush=True)
        training = train(model, pool, options, validation[:500], encoder)

    write_model_directory(options.out / "model", model, tokenizer)
    score = score_directory(options.out / "model", test, device)
    wide, _ = forced_scores(model.to(torch.bfloat16).float(), encoder, validation, torch.float32)
    write_json(options.out / "training.json", {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "cpu",
        "torch": torch.__version__, "transformers": transformers.__version__, "parameters": parameters,
        "tokens_a_step": options.batch_rows * ROW_TOKENS, "seed": options.seed, **training,
        "validation_rows": len(validation), "validation_right": int(wide.sum()), "test": score,
    })
    print(f"{score['right']} of {score['rows']} test rows, {int(wide.sum())} of {len(validation)} validation rows right, "
          f"{training['steps']} steps in {training['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
