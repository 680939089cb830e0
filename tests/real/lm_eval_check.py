# SPDX-License-Identifier: Apache-2.0
"""Two tasks for lm_eval, of the rows of data/tasks.jsonl, and the same requests and scores by hand, without lm_eval.

write TASKS.jsonl: tasks/, and by_hand_score.jsonl and by_hand_generate.jsonl, requests whose ids say what they are.
compare RESULTS.json: lm_eval's metrics beside those of by_hand_score.out and by_hand_generate.out."""
import json
import pathlib
import sys

ROWS = 24
BEGIN, END = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


def documents(path):
    rows = [json.loads(line) for line in pathlib.Path(path).open()]
    rows = [row for row in rows if row["task"] in ("compare", "count") and len(row["messages"]) == 1][: ROWS + 1]
    made = []
    for number, row in enumerate(rows):
        question, right = row["messages"][0]["content"], row["expected"]
        if row["task"] == "compare":
            wrong = next(word for word in question.replace("?", " ").replace(",", " ").split() if word.isdigit() and word != right)
        else:
            wrong = str(int(right) + 1)
        place = number % 2
        # Some are marked wrong on purpose: the model knows nearly all, and a metric of 1 would say little.
        answer = 1 - place if number % 3 == 1 else place
        made.append({"question": question, "choices": [wrong, right] if place else [right, wrong], "answer": answer,
                     "right": wrong if number % 4 == 1 else right})
    return made


def prompt(example, document):
    """With one example before it, as lm_eval lays them out."""
    asked = f"{BEGIN}{example['question']}{END}{example['right']}\n\n{BEGIN}{document['question']}{END}"
    return asked.rstrip(), asked[len(asked.rstrip()):]


def write(path):
    made = documents(path)
    example, made = made[-1], made[:-1]
    folder = pathlib.Path("tasks")
    folder.mkdir()
    for name, rows in (("documents", made), ("examples", [example])):
        pathlib.Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(pathlib.Path("documents.jsonl").resolve()),
                                                                        "train": str(pathlib.Path("examples.jsonl").resolve())}},
              "test_split": "test", "fewshot_split": "train", "target_delimiter": "", "doc_to_text": BEGIN + "{{question}}" + END,
              "fewshot_config": {"sampler": "first_n"}}
    choice = {**common, "task": "small_choice", "output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "answer",
              "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
    answer = {**common, "task": "small_answer", "output_type": "generate_until", "doc_to_target": "right",
              "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12}, "metric_list": [{"metric": "exact_match"}]}
    for task in (choice, answer):  # JSON is YAML
        (folder / f"{task['task']}.yaml").write_text(json.dumps(task))
    with open("by_hand_score.jsonl", "w") as score, open("by_hand_generate.jsonl", "w") as generate:
        for i, document in enumerate(made):
            context, spaces = prompt(example, document)
            for j, text in enumerate(document["choices"]):
                print(json.dumps({"id": f"{i}-{j}", "prompt": context, "completion": spaces + text}), file=score)
            print(json.dumps({"id": str(i), "prompt": context + spaces, "temperature": 0, "stop": ["\n"], "max_tokens": 12}), file=generate)


def lines(path):
    return {row["id"]: row for row in map(json.loads, open(path))}


def compare(path):
    scored, generated = lines("by_hand_score.out"), lines("by_hand_generate.out")
    made = [json.loads(line) for line in open("documents.jsonl")]
    sums = [[scored[f"{i}-{j}"]["logprob_sum"] for j in range(2)] for i in range(len(made))]
    best = lambda values: values.index(max(values))
    mean = lambda hits: sum(hits) / len(hits)
    expected = {
        ("small_choice", "acc"): mean([best(values) == row["answer"] for values, row in zip(sums, made)]),
        ("small_choice", "acc_norm"): mean([best([value / len(text) for value, text in zip(values, row["choices"])]) == row["answer"]
                                            for values, row in zip(sums, made)]),
        ("small_answer", "exact_match"): mean([generated[str(i)]["text"] == row["right"] for i, row in enumerate(made)]),
    }
    results = json.load(open(path))
    for (task, metric), value in expected.items():
        found = next(results[task][name] for name in results[task] if name.split(",")[0] == metric)
        print(f"{task} {metric}: lm_eval {found:.6f}, by hand {value:.6f}")
        if abs(found - value) > 1e-12 or not 0.4 < value < 0.9:
            sys.exit(f"FAILED: {task} {metric}")


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](*sys.argv[2:])
