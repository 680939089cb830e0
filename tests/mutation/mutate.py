#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants small faults and counts how many the quick tests notice.

    python3 -m pip install tree-sitter tree-sitter-c
    tests/mutation/mutate.py prepare            # once a commit: builds, times, coverage
    tests/mutation/mutate.py run --seed 1 --count 30
    tests/mutation/mutate.py table              # Markdown, from the results so far

A function is drawn at random, then an operator, then a place. A mutant counts where it compiles and
its object differs from the original's when both are optimised. It is built under AddressSanitizer
and UndefinedBehaviorSanitizer, and the tests that reach its line run, the fastest first, until one
fails. docs/testing.md says how to read the table. Everything is kept in build/mutation.
"""

import argparse
import collections
import concurrent.futures
import difflib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mutants import mutants_of

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutation"
# Where faults are planted: a name, and the paths that it stands for.
FOLDERS = {
    "base": ["src/base"], "engine": ["src/engine"], "data": ["src/data"], "run": ["src/run"],
    "job": ["src/job"], "text": ["src/text"], "model": ["src/model", "src/weights"],
    "comm": ["src/comm"], "backend": ["src/backend"], "cli": ["src/cli"],
    "grammar": ["src/grammar"], "measure": ["src/measure"],
}
USUAL = "engine,data,run,job,text,model,comm,backend"
SKIPPED = 77


def say(text):
    print(text, flush=True)


def call(command, **options):
    return subprocess.run(command, check=True, **options)


# ---- Trees and builds ----


class Tree:
    """A copy of the sources with a build of its own."""

    def __init__(self, name, configure):
        self.sources = WORK / name / "tree"
        self.build = WORK / name / "build"
        self.configure = configure

    def copy(self):
        """Brings the sources up to date; what is equal keeps its time, so that little is built again."""
        text = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        names = {name for name in text.decode().split("\0") if name and (ROOT / name).is_file()}
        for old in self.sources.rglob("*"):
            if old.is_file() and ".git" not in old.parts and str(old.relative_to(self.sources)) not in names:
                old.unlink()
        for name in names:
            source, target = ROOT / name, self.sources / name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
                target.touch()
        if not (self.sources / ".git").exists():  # some tests ask git for names
            call(["git", "init", "-q"], cwd=self.sources)
        call(["git", "add", "-A"], cwd=self.sources, stdout=subprocess.DEVNULL)

    def make(self, jobs, targets=()):
        call(["cmake", "-S", self.sources, "-B", self.build, "-G", "Ninja", "-DSLUICE_TESTS=ON", *self.configure],
             stdout=subprocess.DEVNULL)
        call(["cmake", "--build", self.build, "--", "-j", str(jobs), *targets], stdout=subprocess.DEVNULL)

    def tests(self):
        """The quick tests: name, command, environment, folder in which they run."""
        text = subprocess.run(["ctest", "--show-only=json-v1", "-LE", "slow"], cwd=self.build, check=True,
                              capture_output=True).stdout
        found = []
        for test in json.loads(text)["tests"]:
            properties = {p["name"]: p["value"] for p in test.get("properties", [])}
            labels = properties.get("LABELS", [])
            if "command" not in test or {"checkers", "build", "bare", "fuzz"} & set(labels):
                continue  # these look at the sources, not at what they do
            found.append({"name": test["name"], "command": test["command"],
                          "folder": properties.get("WORKING_DIRECTORY", str(self.build)),
                          "environment": dict(e.split("=", 1) for e in properties.get("ENVIRONMENT", []))})
        return found

    def compiler(self, path):
        """The command that compiles a source file and the object that it makes, by its path in the tree."""
        if not hasattr(self, "commands"):
            self.commands = {}
            for entry in json.loads((self.build / "compile_commands.json").read_text()):
                relative = os.path.relpath(entry["file"], self.sources)
                self.commands.setdefault(relative, []).append(entry)
        return self.commands.get(path, [])


SANITIZED = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DSLUICE_SANITIZE=address,undefined",
             "-DCMAKE_C_FLAGS=-w", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
COVERED = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=-w --coverage", "-DCMAKE_EXE_LINKER_FLAGS=--coverage",
           "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]


def run_test(test, limit, environment=None):
    """The exit status, or None past the limit, and the seconds. All that it started ends with it."""
    start = time.monotonic()
    full = dict(os.environ, **test["environment"], **(environment or {}))
    process = subprocess.Popen(test["command"], cwd=test["folder"], env=full, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    return code, time.monotonic() - start


# ---- Which test reaches which line ----


def lines_reached(folder, build, sources):
    """The lines that ran, {file: set of lines}, from the counts that a test left in `folder`."""
    reached = collections.defaultdict(set)
    counts = sorted(folder.rglob("*.gcda"))
    for data in counts:
        notes = Path("/") / data.relative_to(folder)
        link = data.with_suffix(".gcno")
        if not link.exists():
            link.symlink_to(notes.with_suffix(".gcno"))
    for at in range(0, len(counts), 40):
        text = subprocess.run(["gcov", "--json-format", "--stdout", *map(str, counts[at : at + 40])], cwd=build,
                              capture_output=True).stdout
        for line in text.splitlines():
            for file in json.loads(line)["files"]:
                name = os.path.relpath(os.path.join(build, file["file"]), sources)
                if name.startswith("src/"):
                    reached[name].update(l["line_number"] for l in file["lines"] if l["count"] > 0)
    return reached


def measure_coverage(tree, tests):
    covers = {}
    for test in tests:
        folder = WORK / "counts"
        shutil.rmtree(folder, ignore_errors=True)
        run_test(test, 600, {"GCOV_PREFIX": str(folder)})
        reached = lines_reached(folder, tree.build, tree.sources) if folder.exists() else {}
        covers[test["name"]] = {name: sorted(lines) for name, lines in reached.items()}
        say(f"  {test['name']}: {sum(map(len, reached.values()))} lines")
    shutil.rmtree(WORK / "counts", ignore_errors=True)
    return covers


def prepare(options):
    WORK.mkdir(parents=True, exist_ok=True)
    targets = options.tests.split(",") if options.tests else []  # of unit tests; then nothing else is built
    trees = [Tree(f"worker{i}", SANITIZED) for i in range(options.jobs)]
    for tree in trees:
        say(f"building {tree.build}")
        tree.copy()
        tree.make(options.jobs, targets)
    covered = Tree("coverage", COVERED)
    say("building for coverage")
    covered.copy()
    covered.make(options.jobs, targets)
    seconds = {}
    say("timing the tests")
    for test in trees[0].tests():
        if targets and test["name"] not in targets:
            continue
        code, took = run_test(test, 900)
        if code == 0:
            seconds[test["name"]] = took
        else:
            say(f"  {test['name']}: left out, {'skipped' if code == SKIPPED else f'status {code}'} without a fault")
    say("measuring coverage")
    covers = measure_coverage(covered, [t for t in covered.tests() if t["name"] in seconds])
    (WORK / "prepared.json").write_text(json.dumps({"seconds": seconds, "covers": covers, "jobs": options.jobs}))
    say(f"{len(seconds)} tests, {sum(seconds.values()):.0f} s")


# ---- Mutants ----


def files_of(tree, folder):
    return sorted(str(p.relative_to(tree.sources)) for place in FOLDERS[folder]
                  for p in (tree.sources / place).rglob("*.c") if tree.compiler(str(p.relative_to(tree.sources))))


def draw(tree, folder, random_numbers):
    """Mutants without end: a function, an operator, a place."""
    by_function = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in files_of(tree, folder):
        for mutant in mutants_of((tree.sources / path).read_bytes()):
            by_function[path, mutant.function][mutant.operator].append((path, mutant))
    functions = sorted(by_function)
    seen = set()
    while functions:
        operators = by_function[random_numbers.choice(functions)]
        chosen = random_numbers.choice(operators[random_numbers.choice(sorted(operators))])
        if chosen not in seen:
            seen.add(chosen)
            yield chosen


def compile_plain(entry, source, out):
    """Optimised, without sanitizers and debug information: equal objects, equal behaviour."""
    words = shlex.split(entry["command"]) if "command" in entry else list(entry["arguments"])
    words = [w for w in words if not w.startswith(("-fsanitize", "-g", "-O", "-fno-omit"))]
    if "-o" in words:
        at = words.index("-o")
        del words[at : at + 2]
    words = [str(source) if w == entry["file"] else w for w in words]
    words = [w for w in words if not w.startswith(("-MD", "-MT", "-MF")) and not w.endswith(".o.d")]
    done = subprocess.run([*words, "-O2", "-g0", "-o", str(out)], cwd=entry["directory"], capture_output=True)
    return out.read_bytes() if done.returncode == 0 else None


class Worker:
    def __init__(self, number, prepared):
        self.tree = Tree(f"worker{number}", SANITIZED)
        self.tests = {t["name"]: t for t in self.tree.tests()}
        self.prepared = prepared

    def ninja(self, targets):
        return subprocess.run(["cmake", "--build", self.tree.build, "--", "-j", "1", *targets],
                              capture_output=True).returncode == 0

    def targets_of(self, test):
        """What has to be built for a test: programs of this build that its command or environment names."""
        words = " ".join([*test["command"], *test["environment"].values()])
        found = {"sluice_program"} if "/sluice" in words or test["command"][0].endswith("bash") else set()
        for word in words.replace("=", " ").replace(";", " ").split():
            if word.startswith(f"{self.tree.build}/tests/") and Path(word).is_file():
                found.add(os.path.relpath(word, self.tree.build))
        return sorted(found)

    def reaching(self, path, line):
        covers, seconds = self.prepared["covers"], self.prepared["seconds"]
        names = [n for n in covers if line in covers[n].get(path, ()) and n in self.tests]
        return sorted(names, key=lambda n: seconds[n])

    def differs(self, path, original, mutated):
        plain = WORK / f"plain{os.getpid()}-{id(self)}.o"
        source = self.tree.sources / path
        for entry in self.tree.compiler(path):
            source.write_bytes(original)
            before = compile_plain(entry, source, plain)
            source.write_bytes(mutated)
            after = compile_plain(entry, source, plain)
            if after is None:
                return None
            if before != after:
                return True
        return False

    def try_tests(self, path, line, budget):
        names = self.reaching(path, line)
        spent = 0.0
        for name in names:
            if spent > budget:
                return "survived", f"{budget:.0f} s of tests"
            test = self.tests[name]
            if not self.ninja(self.targets_of(test)):
                return "survived", f"{name} cannot be built"
            usual = self.prepared["seconds"][name]
            code, took = run_test(test, 4 * usual + 20)
            spent += took
            if code not in (0, SKIPPED):
                return "noticed", name if code is not None else f"{name} (no end)"
        return "survived", f"{len(names)} tests" if names else "no test reaches it"

    def run(self, path, mutant, budget):
        source = self.tree.sources / path
        original = source.read_bytes()
        mutated = mutant.applied(original)
        try:
            verdict = self.differs(path, original, mutated)
            if not verdict:
                return ("invalid", "") if verdict is None else ("equivalent", "")
            return self.try_tests(path, mutant.line, budget)
        finally:
            source.write_bytes(original)


def result_of(path, mutant, original, outcome, seconds):
    before = original.decode(errors="replace").splitlines()
    after = mutant.applied(original).decode(errors="replace").splitlines()
    changes = [l for l in difflib.unified_diff(before, after, lineterm="", n=0)][2:]
    return {"file": path, "line": mutant.line, "function": mutant.function, "operator": mutant.operator,
            "outcome": outcome[0], "by": outcome[1], "diff": changes, "seconds": round(seconds, 1)}


def run_folder(worker, folder, options, out):
    """Draws until `count` mutants compile and differ."""
    numbers = random.Random(f"{options.seed}/{folder}")
    counted = 0
    for path, mutant in draw(worker.tree, folder, numbers):
        if counted == options.count:
            break
        start = time.monotonic()
        original = (worker.tree.sources / path).read_bytes()
        outcome = worker.run(path, mutant, options.budget)
        if outcome[0] in ("invalid", "equivalent"):
            continue
        counted += 1
        result = result_of(path, mutant, original, outcome, time.monotonic() - start)
        result["folder"], result["seed"] = folder, options.seed
        with open(out, "a") as file:
            file.write(json.dumps(result) + "\n")
        say(f"{folder} {counted}/{options.count}: {path}:{mutant.line} {mutant.operator}: {outcome[0]}, {outcome[1]}")
    worker.ninja([])


def run(options):
    prepared = json.loads((WORK / "prepared.json").read_text())
    for name in prepared["covers"]:
        prepared["covers"][name] = {f: set(lines) for f, lines in prepared["covers"][name].items()}
    out = WORK / f"results-{options.seed}.jsonl"
    out.unlink(missing_ok=True)
    folders = options.folders.split(",")
    workers = [Worker(i, prepared) for i in range(prepared["jobs"])]
    with concurrent.futures.ThreadPoolExecutor(len(workers)) as pool:
        queues = [folders[i :: len(workers)] for i in range(len(workers))]
        for future in [pool.submit(lambda w, q: [run_folder(w, f, options, out) for f in q], w, q)
                       for w, q in zip(workers, queues)]:
            future.result()
    table(options)


def table(options):
    results = [json.loads(line) for line in open(WORK / f"results-{options.seed}.jsonl")]
    say(f"Seed {options.seed}, {len(results)} mutants.\n\n| folder | mutants | noticed | share |\n| --- | --- | --- | --- |")
    for folder in [*dict.fromkeys(r["folder"] for r in results), "all"]:
        these = [r for r in results if folder in ("all", r["folder"])]
        noticed = sum(r["outcome"] == "noticed" for r in these)
        say(f"| {folder} | {len(these)} | {noticed} | {noticed / len(these):.0%} |")
    say("\nSurvivors:\n")
    for r in results:
        if r["outcome"] != "noticed":
            say(f"- `{r['file']}:{r['line']}`, `{r['function']}`, {r['operator']} ({r['by']})\n")
            say("".join(f"      {line}\n" for line in r["diff"] if not line.startswith("@@")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("prepare", help="build, time the tests, measure what they reach")
    one.add_argument("--jobs", type=int, default=os.cpu_count())
    one.add_argument("--tests", default="", help="only these unit tests, as kv_blocks_test,stop_test (default: all quick tests)")
    one.set_defaults(act=prepare)
    two = commands.add_parser("run", help="draw mutants and try them")
    two.add_argument("--seed", default="1")
    two.add_argument("--count", type=int, default=30, help="mutants a folder")
    two.add_argument("--folders", default=USUAL, help=f"of {','.join(FOLDERS)}")
    two.add_argument("--budget", type=float, default=240, help="seconds of tests a mutant")
    two.set_defaults(act=run)
    three = commands.add_parser("table", help="of the results so far")
    three.add_argument("--seed", default="1")
    three.set_defaults(act=table)
    options = parser.parse_args()
    return options.act(options)


if __name__ == "__main__":
    sys.exit(main())
