# SPDX-License-Identifier: Apache-2.0
"""The two builds that planted faults are tried in, and what is made of them for one mutant.

Nothing is copied for a mutant: its object is compiled from a file of its own, and the test programs
that it needs are linked once more with that object in the place of the build's. So any number of
mutants can be tried at once.
"""

import concurrent.futures
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutation"
TREE = WORK / "tree"
SKIPPED = 77
# Ranks that share a core give it up while they wait; nothing that a mutant compiles is kept.
ENVIRONMENT = {"OMPI_MCA_mpi_yield_when_idle": "1", "CCACHE_DISABLE": "1"}


def call(command, **options):
    return subprocess.run(command, check=True, **options)


def copy_sources():
    """Brings the copy of the sources up to date, so that one can go on working in the others."""
    text = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    names = {name for name in text.decode().split("\0") if name and (ROOT / name).is_file()}
    for old in TREE.rglob("*"):
        if old.is_file() and ".git" not in old.parts and str(old.relative_to(TREE)) not in names:
            old.unlink()
    for name in names:
        source, target = ROOT / name, TREE / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            target.touch()
    if not (TREE / ".git").exists():  # some tests ask git for names
        call(["git", "init", "-q"], cwd=TREE)
    call(["git", "add", "-A"], cwd=TREE, stdout=subprocess.DEVNULL)


class Build:
    """A build of the copied sources, or of those in use. Threads may share it once it is made."""

    def __init__(self, folder, tree=TREE, configure=()):
        self.folder, self.tree = Path(folder), tree
        self.configure = configure
        self.links = {}

    def make(self, jobs, targets=()):
        call(["cmake", "-S", self.tree, "-B", self.folder, "-G", "Ninja", "-DSLUICE_TESTS=ON",
              "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *self.configure], stdout=subprocess.DEVNULL)
        call(["cmake", "--build", self.folder, "--", "-j", str(jobs), *targets], stdout=subprocess.DEVNULL)

    def tests(self):
        """The quick tests by name, each with its command, environment, folder and programs."""
        text = subprocess.run(["ctest", "--show-only=json-v1", "-LE", "slow"], cwd=self.folder, check=True,
                              capture_output=True).stdout
        found = {}
        for test in json.loads(text)["tests"]:
            properties = {p["name"]: p["value"] for p in test.get("properties", [])}
            labels = properties.get("LABELS", [])
            if "command" not in test or {"checkers", "build", "bare", "fuzz"} & set(labels):
                continue  # these look at the sources, not at what they do
            environment = dict(e.split("=", 1) for e in properties.get("ENVIRONMENT", []))
            words = set(" ".join([*test["command"], *environment.values()]).replace("=", " ").replace(";", " ").split())
            programs = [p for p in ["sluice", *(f"tests/{Path(w).name}" for w in words)]
                        if f"{self.folder}/{p}" in words and (self.folder / p).is_file()]
            found[test["name"]] = {"name": test["name"], "command": test["command"], "build": self,
                                   "environment": environment, "programs": sorted(programs), "labels": labels}
        return found

    def compiler(self, path):
        """The commands that compile a source file, by its path in the tree."""
        if not hasattr(self, "commands"):
            self.commands = {}
            for entry in json.loads((self.folder / "compile_commands.json").read_text()):
                words = [w for w in shlex.split(entry["command"]) if w != "--coverage"]
                relative = os.path.relpath(entry["file"], self.tree)
                self.commands.setdefault(relative, []).append(
                    {"words": words, "object": words[words.index("-o") + 1], "file": entry["file"]})
        return self.commands.get(path, [])

    def link(self, program):
        """The command that links a program, run in the build's folder."""
        if program not in self.links:
            text = subprocess.run([self.ninja(), "-t", "commands", "-s", program], cwd=self.folder, check=True,
                                  capture_output=True, text=True).stdout
            self.links[program] = text.strip().splitlines()[-1]
        return self.links[program]

    def ninja(self):
        cache = (self.folder / "CMakeCache.txt").read_text()
        return cache.split("CMAKE_MAKE_PROGRAM:FILEPATH=")[1].splitlines()[0]


# Asserts stay on, nothing is there for a debugger.
SANITIZED = ["-DCMAKE_BUILD_TYPE=Mutation", "-DCMAKE_C_FLAGS=-O1 -w", "-DSLUICE_SANITIZE=address,undefined"]
COVERED = ["-DCMAKE_BUILD_TYPE=Mutation", "-DCMAKE_C_FLAGS=-O0 -g -w --coverage", "-DCMAKE_EXE_LINKER_FLAGS=--coverage -Wl,-u,__gcov_dump"]


def builds():
    return Build(WORK / "sanitized", configure=SANITIZED), Build(WORK / "coverage", configure=COVERED)


def run_test(test, limit, folder, environment=None):
    """The exit status, or None past the limit, and the seconds. All that it started ends with it."""
    start = time.monotonic()
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    full = dict(os.environ, **ENVIRONMENT, **test["environment"], TMPDIR=str(folder / "tmp"), **(environment or {}))
    process = subprocess.Popen(test["command"], cwd=folder / "run", env=full, stdin=subprocess.DEVNULL,
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


class Mutation:
    """One changed source file: its objects and programs, in a folder of its own."""

    def __init__(self, folder, path, text):
        self.folder, self.path, self.text = Path(folder), path, text
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.made = {}

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def compile(self, entry, text, out, plain=False):
        """Compiles a text in the place of the entry's file; False where it does not compile."""
        source = Path(f"{out}.d") / "mutant.c"  # its name may be in the object
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(f'#line 1 "{entry["file"]}"\n'.encode() + text)
        words = list(entry["words"])
        at = words.index("-o")
        del words[at : at + 2]
        words = [str(source) if w == entry["file"] else w for w in words]
        # At the highest level the kernels take minutes to compile under sanitizers.
        words = ["-O1" if w == "-O3" else w for w in words]
        if plain:  # equal objects, equal behaviour; and what the preset dev refuses nobody could hand in
            words = [w for w in words if not w.startswith(("-fsanitize", "-g", "-O", "-fno-omit")) and w != "-w"]
            words += ["-O2", "-g0", "-Werror"]
        done = subprocess.run([*words, "-iquote", str(Path(entry["file"]).parent), "-o", str(out)],
                              cwd=WORK, env=dict(os.environ, **ENVIRONMENT), capture_output=True)
        return done.returncode == 0

    def differs(self, build, original):
        """None where it does not compile, False where the optimised objects are equal."""
        before, after = self.folder / "before.o", self.folder / "after.o"
        for entry in build.compiler(self.path):
            if not self.compile(entry, self.text, after, plain=True):
                return None
            if not self.compile(entry, original, before, plain=True) or before.read_bytes() != after.read_bytes():
                return True
        return False

    def objects(self, build):
        """The build's objects that this change replaces, each with its own."""
        if build not in self.made:
            (self.folder / build.folder.name).mkdir()
            entries = build.compiler(self.path)
            outs = [self.folder / build.folder.name / f"{number}.o" for number in range(len(entries))]
            with concurrent.futures.ThreadPoolExecutor(len(entries)) as pool:
                if not all(pool.map(lambda e, out: self.compile(e, self.text, out), entries, outs)):
                    return None
            self.made[build] = [(e["object"], str(out)) for e, out in zip(entries, outs)]
        return self.made[build]

    def program(self, build, name):
        """Links a program of the build with the changed objects; None where that fails."""
        out = self.folder / build.folder.name / name
        if out.exists():
            return out
        pairs = self.objects(build)
        if pairs is None:
            return None
        out.parent.mkdir(parents=True, exist_ok=True)
        words = build.link(name).split(" ")
        words[words.index("-o") + 1] = str(out)
        for theirs, ours in pairs:
            if theirs in words:
                words[words.index(theirs)] = ours
            elif (archive := archive_of(theirs, words)) is not None:
                words.insert(words.index(archive), ours)  # what it defines is then not taken from the archive
        done = subprocess.run(" ".join(words), shell=True, cwd=build.folder, capture_output=True)
        return out if done.returncode == 0 else None

    def test(self, test):
        """The test with this change's programs; None where one cannot be linked."""
        build = test["build"]
        command, environment = " \0".join(test["command"]), dict(test["environment"])
        for name in test["programs"]:
            out = self.program(build, name)
            if out is None:
                return None
            command = swap(command, f"{build.folder}/{name}", str(out))
            environment = {k: swap(v, f"{build.folder}/{name}", str(out)) for k, v in environment.items()}
        return dict(test, command=command.split(" \0"), environment=environment)


def archive_of(theirs, words):
    """The archive among a link's words that has an object of the build; None where none has."""
    target = theirs.split("CMakeFiles/")[1].split(".dir/")[0]
    library = "sluice" if target.startswith("sluice_cpu") else target
    return next((w for w in words if Path(w).name == f"lib{library}.a"), None)


def swap(text, old, new):
    """Replaces a path where it ends, not where a longer name begins with it."""
    words = text.split(" ")
    return " ".join(new if w == old else "\0" + new if w == "\0" + old else w for w in words)
