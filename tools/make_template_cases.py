#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/templates/{language,chat}.json with the reference implementation of chat templates.

Needs jinja2 3.1 (pip install jinja2). The environment is set up as transformers does for
apply_chat_template: immutable sandbox, trim_blocks, lstrip_blocks, loop controls, the generation tag,
tojson without HTML escapes. Chat templates are read from tests/data/templates/*.jinja, and from
files given as arguments (for a check that is not kept: then the result goes to --output).
"""
import argparse
import datetime
import glob
import json
import os

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from template_cases import CONVERSATIONS, EXPRESSIONS, TEMPLATES, VARIABLES

NOW = 1769862896  # 2026-01-31 12:34:56 UTC
FOLDER = os.path.join(os.path.dirname(__file__), "..", "tests", "data", "templates")
# Where Python words an error by the name of one of its functions, only the failure is compared.
PYTHON_WORDING = ("positional argument", "keyword argument", "required argument", "missing 1", "do_", "sync_do",
                  "arguments", "argument", "__", "NamespaceError", "slots", "conversion", "not subscriptable",
                  "Format", "format", "Undefined", "assert", "not iterable", "codec", "unterminated", "slice", "reversible", "specif",
                  "unsupported operand", "quote", "not callable", "unpack", "must be")


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def make_environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(format):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(format)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


def render(environment, template, variables):
    given = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": False}
    given.update({k: v for k, v in variables.items() if k != "extra"})
    given.update(variables.get("extra", {}))
    try:
        text = environment.from_string(template).render(**given)
        text.encode("utf-8")
        return {"text": text}
    except jinja2.exceptions.TemplateSyntaxError as error:
        return {"error": error.message}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error)}
    except SyntaxError as error:
        return {"error": error.msg}
    except (RecursionError, MemoryError):
        return {"error": None}
    except Exception as error:
        message = str(error)
        return {"error": None if any(w in message for w in PYTHON_WORDING) else message}


def write(path, variables, cases):
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"now":%d,\n"variables":[\n' % NOW)
        out.write(",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in variables))
        out.write('],\n"cases":[\n')
        out.write(",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases))
        out.write("]}\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("files", nargs="*", help="further chat templates")
    arguments.add_argument("--output", default=os.path.join(FOLDER, "chat.json"))
    options = arguments.parse_args()
    environment = make_environment()

    language = [{"template": t, "results": [[0, render(environment, t, VARIABLES)]]}
                for t in TEMPLATES + ["{{ %s }}" % e for e in EXPRESSIONS]]
    for case in language:
        if " at 0x" in case["results"][0][1].get("text", ""):
            raise SystemExit(f"{case['template']}: its text holds an address")
    if not options.files:
        write(os.path.join(FOLDER, "language.json"), [VARIABLES], language)

    cases = []
    for path in options.files or sorted(glob.glob(os.path.join(FOLDER, "*.jinja"))):
        with open(path, encoding="utf-8", newline="") as file:
            template = file.read()
        results = [[i, render(environment, template, c)] for i, c in enumerate(CONVERSATIONS)]
        cases.append({"name": os.path.basename(path), "template": template, "results": results})
    if cases:
        write(options.output, CONVERSATIONS, cases)
    for case in cases:
        failed = sum("error" in r for _, r in case["results"])
        print(f"{case['name']}: {len(case['results'])} renderings, {failed} of them errors")
    print(f"{len(language)} small templates")


if __name__ == "__main__":
    main()
