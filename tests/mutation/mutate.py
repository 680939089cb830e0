#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants small faults and counts how many the quick tests notice.

    python3 -m pip install tree-sitter tree-sitter-c
    tests/mutation/mutate.py prepare            # once a commit: builds, times, coverage
    tests/mutation/mutate.py run --seed 1 --count 30 --jobs 8
    tests/mutation/mutate.py table              # Markdown, from the results so far
    tests/mutation/mutate.py unreached --folders engine

A function is drawn at random, then an operator, then a place. A mutant counts where it compiles and
its object differs from the original's when both are optimised. It is built under AddressSanitizer
and UndefinedBehaviorSanitizer, and the tests that reach its line run, the likeliest to notice it
first, until one fails. docs/testing.md says how to read the table. Everything is kept in
build/mutation.
"""

import argparse
import collections
import concurrent.futures
import difflib
import functools
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from builds import ROOT, SKIPPED, TREE, WORK, Build, Mutation, builds, copy_sources, run_test
from mutants import mutants_of

# Where faults are planted: a name, and the paths that it stands for.
FOLDERS = {
    "base": ["src/base"], "engine": ["src/engine"], "data": ["src/data"], "run": ["src/run"],
    "job": ["src/job"], "text": ["src/text"], "model": ["src/model", "src/weights"],
    "comm": ["src/comm"], "backend": ["src/backend"], "cli": ["src/cli"],
    "grammar": ["src/grammar"], "measure": ["src/measure"],
}
USUAL = "engine,data,run,job,text,model,comm,backend"


def say(text):
    print(text, flush=True)


# ---- Which test reaches which line ----


def spread(counts):
    """Lines that ran, by the counts of those that are counted. Others, as inside of a loop that OpenMP
    shares out or in the rest of a statement, run with the one before them."""
    lines, reached = sorted(counts), set()
    for line, following in zip(lines, [*lines[1:], lines[-1] + 1] if lines else []):
        if counts[line] > 0:
            reached.update(range(line, following))
    return reached


def lines_reached(folder, build):
    """The lines that ran, {file: lines}, from the counts that a test left in `folder`."""
    reached = collections.defaultdict(set)
    counts = sorted(p for p in folder.rglob("*.gcda") if "/src/" in str(p))
    for data in counts:
        link = data.with_suffix(".gcno")
        if not link.exists():
            link.symlink_to((Path("/") / data.relative_to(folder)).with_suffix(".gcno"))
    if not counts:
        return reached
    text = subprocess.run(["gcov", "--json-format", "--stdout", *map(str, counts)], cwd=build.folder,
                          capture_output=True).stdout
    for line in text.splitlines():
        for file in json.loads(line)["files"]:
            name = os.path.relpath(os.path.join(build.folder, file["file"]), TREE)
            if name.startswith("src/"):
                counts = collections.Counter()
                for entry in file["lines"]:
                    counts[entry["line_number"]] += entry["count"]
                reached[name] |= spread(counts)
    return reached


def measure(name, sanitized, covered):
    """A test's seconds as mutants run it, and what it reaches; None where it fails without a fault."""
    folder = WORK / "measured" / name
    test = sanitized.get(name) or covered[name]
    code, took = run_test(test, 900, folder, {"GCOV_PREFIX": str(folder / "counts")})
    if code != 0:
        say(f"  {name}: left out, {'skipped' if code == SKIPPED else f'status {code}'} without a fault")
        return None
    if test is not covered[name]:
        run_test(covered[name], 900, folder, {"GCOV_PREFIX": str(folder / "counts")})
    reached = lines_reached(folder / "counts", covered[name]["build"])
    shutil.rmtree(folder, ignore_errors=True)
    say(f"  {name}: {took:.1f} s, {sum(map(len, reached.values()))} lines")
    return took, {file: sorted(lines) for file, lines in reached.items()}


def measure_all(names, sanitized, covered, jobs):
    """In `jobs` threads, what takes longest first: programs, then units."""
    names = sorted(names, key=lambda n: "unit" in covered[n]["labels"])
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        measured = dict(zip(names, pool.map(lambda n: measure(n, sanitized, covered), names)))
    return {name: value for name, value in measured.items() if value is not None}


def prepare(options):
    WORK.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    targets = options.tests.split(",") if options.tests else []  # of unit tests; then nothing else is built
    copy_sources()
    say("building, with sanitizers and for coverage")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda build: build.make(options.jobs, targets), builds()))
    say(f"  {time.monotonic() - start:.0f} s\nmeasuring the tests")
    sanitized, covered = (build.tests() for build in builds())
    names = [n for n in covered if not targets or n in targets]
    measured = measure_all(names, sanitized, covered, options.jobs)
    with gzip.open(WORK / "prepared.json.gz", "wt") as file:
        json.dump({"seconds": {n: took for n, (took, _) in measured.items()},
                   "covers": {n: reached for n, (_, reached) in measured.items()}}, file)
    say(f"{len(measured)} tests, {sum(took for took, _ in measured.values()):.0f} s; {time.monotonic() - start:.0f} s in all")


def prepared():
    with gzip.open(WORK / "prepared.json.gz", "rt") as file:
        read = json.load(file)
    read["covers"] = {n: {f: set(lines) for f, lines in files.items()} for n, files in read["covers"].items()}
    return read


def unreached(options):
    """Lines with a fault to plant that no quick test runs, by function."""
    covers = prepared()["covers"]
    build, _ = builds()
    for folder in options.folders.split(","):
        for path in files_of(build, folder):
            ran = set().union(*(files.get(path, ()) for files in covers.values()))
            lost = collections.defaultdict(set)
            for mutant in mutants_of((TREE / path).read_bytes()):
                if mutant.line not in ran:
                    lost[mutant.function].add(mutant.line)
            for function, lines in lost.items():
                say(f"{path}: {function}: {' '.join(map(str, sorted(lines)))}")


# ---- Which test is likely to notice ----

# What the walks of failing calls are for.
OF_FAILURES = ("skipped error check", "missing check", "dropped call", "missing clean-up")


@functools.cache
def tests_of_room(path):
    """The unit tests of a source file's room, and the words that stand for it in the names of others."""
    room = path.split("/")[1]
    room = {"weights": "model"}.get(room, room)
    return room, {p.stem for p in (ROOT / "tests/unit" / room).glob("*_test.c")}


@functools.cache
def noticed_before():
    """How often each test has noticed a fault in each file, {(test, file): times}, in all runs so far."""
    found = collections.Counter()
    for results in WORK.glob("results-*.jsonl"):
        for line in results.read_text().splitlines():
            result = json.loads(line)
            if result["outcome"] == "noticed":
                found[result["by"].removesuffix(" (no end)"), result["file"]] += 1
    return found


def chance(name, path, operator, lines):
    """A guess at how probably a test notices a fault in a line that it reaches: walks of failing calls
    where an error is lost, then what has the file's name or has noticed faults in it before, then the
    room's, then what is narrow."""
    room, units = tests_of_room(path)
    if "_failing" in name and operator in OF_FAILURES:
        return 0.6
    stem = Path(path).stem
    if noticed_before()[name, path] > 0 or stem in name or stem.removeprefix(f"{room}_") == name.removesuffix("_test"):
        return 0.5
    if name in units or name.startswith(f"{room}_"):
        return 0.25
    return 0.1 * min(1.0, 2000 / max(lines, 1))


# ---- Mutants ----


def files_of(build, folder):
    found = (str(p.relative_to(build.tree)) for place in FOLDERS[folder] for p in (build.tree / place).rglob("*.c"))
    return sorted(path for path in found if build.compiler(path))


def draw(build, folder, random_numbers):
    """Mutants without end: a function, an operator, a place."""
    by_function = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in files_of(build, folder):
        for mutant in mutants_of((build.tree / path).read_bytes()):
            by_function[path, mutant.function][mutant.operator].append((path, mutant))
    functions = sorted(by_function)
    seen = set()
    while functions:
        operators = by_function[random_numbers.choice(functions)]
        chosen = random_numbers.choice(operators[random_numbers.choice(sorted(operators))])
        if chosen not in seen:
            seen.add(chosen)
            yield chosen


class Folder:
    """A folder's mutants in the order in which they are drawn, until `count` of them are valid."""

    def __init__(self, build, name, options):
        self.name, self.count = name, options.count
        self.mutants = draw(build, name, random.Random(f"{options.seed}/{name}"))
        self.valid = self.open = 0

    def wants(self):
        return self.valid + self.open < self.count


class Prepared:
    """Builds and tests as `prepare` has left them: what reaches a line is measured."""

    def __init__(self):
        self.build, covered = builds()
        self.tests = {**covered.tests(), **self.build.tests()}
        measured = prepared()
        self.seconds, self.covers = measured["seconds"], measured["covers"]
        self.lines = {name: sum(map(len, files.values())) for name, files in self.covers.items()}
        self.build.compiler(""), covered.compiler("")  # read before threads ask

    def reaching(self, path, line, operator):
        """The tests that reach a line; first what notices most in a second, so that a budget finds most."""
        names = [n for n in self.covers if line in self.covers[n].get(path, ()) and n in self.tests]
        return sorted(names, key=lambda n: (self.seconds[n] + 0.1) / chance(n, path, operator, self.lines[n]))


class Existing:
    """A build that is there, and the unit tests of a file's room. What they reach is not measured."""

    def __init__(self, folder):
        self.build = Build(Path(folder).resolve(), ROOT)
        self.tests = self.build.tests()
        self.seconds = {}
        self.lock = threading.Lock()
        self.build.compiler("")

    def passes(self, name):
        """Whether a test passes without a fault, tried once."""
        with self.lock:
            if name not in self.seconds:
                folder = WORK / "tried"
                code, took = run_test(self.tests[name], 120, folder)
                self.seconds[name] = took if code == 0 else None
                shutil.rmtree(folder, ignore_errors=True)
                if code != 0:
                    say(f"{name}: left out, status {code} without a fault")
            return self.seconds[name] is not None

    def reaching(self, path, line, operator):
        room, units = tests_of_room(path)
        names = units | {n for n in self.tests if n.startswith(f"{room}_") and n.endswith("_2_ranks")}
        return sorted((n for n in names if n in self.tests and self.passes(n)),
                      key=lambda n: (self.seconds[n] + 0.1) / chance(n, path, operator, 1))


class Trial:
    """All that the threads of a run share."""

    def __init__(self, options):
        self.options = options
        self.basis = Existing(options.build) if options.build else Prepared()
        self.build = self.basis.build
        self.folders = [Folder(self.build, name, options) for name in options.folders.split(",")]
        self.until = time.monotonic() + options.seconds
        self.changed = threading.Condition()

    def next(self):
        """A folder and a mutant of it; None at the end. Folders take turns."""
        with self.changed:
            while True:
                wanting = [f for f in self.folders if f.wants()]
                if wanting and time.monotonic() < self.until:
                    folder = min(wanting, key=lambda f: f.valid + f.open)
                    chosen = next(folder.mutants, None)
                    if chosen is None:
                        folder.count = 0
                        continue
                    folder.open += 1
                    return folder, chosen
                if not any(f.open for f in self.folders) or time.monotonic() >= self.until:
                    return None
                self.changed.wait(1)  # one of those under way may not compile

    def decided(self, folder, valid):
        with self.changed:
            folder.open -= 1
            folder.valid += valid
            self.changed.notify_all()

    def try_tests(self, mutation, path, mutant):
        """What came of it, and by what: a mutant survives only where every test that reaches it passed."""
        names = self.basis.reaching(path, mutant.line, mutant.operator)
        spent = 0.0
        for number, name in enumerate(names):
            if spent > self.options.budget:
                return "not finished", f"{number} of {len(names)} tests in {self.options.budget:.0f} s"
            test = mutation.test(self.basis.tests[name])
            if test is None:
                return "not finished", f"{name} cannot be built"
            code, took = run_test(test, 4 * self.basis.seconds[name] + 20, mutation.folder,
                                  {"GCOV_PREFIX": str(mutation.folder / "counts")})
            spent += took
            if code not in (0, SKIPPED):
                return "noticed", name if code is not None else f"{name} (no end)"
        return "survived", f"{len(names)} tests" if names else "no test reaches it"

    def work(self, number):
        """One thread: tries mutants until none is left."""
        while (found := self.next()) is not None:
            folder, (path, mutant) = found
            start = time.monotonic()
            original = (self.build.tree / path).read_bytes()
            mutation = Mutation(WORK / f"try{number}", path, mutant.applied(original))
            valid = mutation.differs(self.build, original)
            self.decided(folder, bool(valid))
            if valid:
                outcome = self.try_tests(mutation, path, mutant)
                self.keep(folder, result_of(path, mutant, original, outcome, time.monotonic() - start))
            mutation.remove()

    def keep(self, folder, result):
        result["folder"], result["seed"] = folder.name, self.options.seed
        with self.changed, open(results_path(self.options), "a") as file:
            file.write(json.dumps(result) + "\n")
        say(f"{folder.name}: {result['file']}:{result['line']} {result['operator']}: {result['outcome']}, {result['by']}")


def result_of(path, mutant, original, outcome, seconds):
    before = original.decode(errors="replace").splitlines()
    after = mutant.applied(original).decode(errors="replace").splitlines()
    changes = [l for l in difflib.unified_diff(before, after, lineterm="", n=0)][2:]
    return {"file": path, "line": mutant.line, "function": mutant.function, "operator": mutant.operator,
            "outcome": outcome[0], "by": outcome[1], "diff": changes, "seconds": round(seconds, 1)}


def results_path(options):
    return WORK / f"results-{options.seed}.jsonl"


def run(options):
    WORK.mkdir(parents=True, exist_ok=True)
    results_path(options).unlink(missing_ok=True)
    trial = Trial(options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(trial.work, range(options.jobs)))
    table(options)


def table(options):
    path = results_path(options)
    results = [json.loads(line) for line in open(path)] if path.exists() else []
    results.sort(key=lambda r: (r["folder"], r["file"], r["line"]))
    say(f"Seed {options.seed}, {len(results)} mutants.\n\n"
        "| folder | mutants | noticed | survived | not finished | share |\n| --- | --- | --- | --- | --- | --- |")
    for folder in [*dict.fromkeys(r["folder"] for r in results), "all"]:
        these = [r for r in results if folder in ("all", r["folder"])]
        count = collections.Counter(r["outcome"] for r in these)
        say(f"| {folder} | {len(these)} | {count['noticed']} | {count['survived']} | {count['not finished']} | "
            f"{count['noticed'] / len(these):.0%} |" if these else "| all | 0 | | | | |")
    for title, outcome in [("Survivors", "survived"), ("Not finished: some tests that reach the line have not run", "not finished")]:
        say(f"\n{title}:\n")
        for r in (r for r in results if r["outcome"] == outcome):
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
    two.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at once")
    two.add_argument("--budget", type=float, default=240, help="seconds of tests a mutant")
    two.add_argument("--seconds", type=float, default=float("inf"), help="no mutant begins after that")
    two.add_argument("--build", help="a sanitized build that is there (build/asan), and each room's unit tests; no `prepare`")
    two.set_defaults(act=run)
    three = commands.add_parser("table", help="of the results so far")
    three.add_argument("--seed", default="1")
    three.set_defaults(act=table)
    four = commands.add_parser("unreached", help="the lines that no quick test runs, by function")
    four.add_argument("--folders", default=USUAL)
    four.set_defaults(act=unreached)
    options = parser.parse_args()
    return options.act(options)


if __name__ == "__main__":
    sys.exit(main())
