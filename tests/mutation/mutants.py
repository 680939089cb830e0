# SPDX-License-Identifier: Apache-2.0
"""Small faults for C sources, of the kinds that people make.

mutants_of(source) finds every place in every function of a file where an operator applies.
Replacements keep the number of lines. Found on the syntax tree of tree-sitter, which reads macros
such as TRY as the calls that they look like.
"""

from dataclasses import dataclass

import tree_sitter
import tree_sitter_c

LANGUAGE = tree_sitter.Language(tree_sitter_c.language())

# What each operator may be mistaken for.
MISTAKEN = {
    "<": ["<=", ">"], "<=": ["<", ">="], ">": [">=", "<"], ">=": [">", "<="],
    "==": ["!="], "!=": ["=="], "&&": ["||"], "||": ["&&"],
    "+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["/"],
    "&": ["|"], "|": ["&"], "<<": [">>"], ">>": ["<<"],
}
KINDS = {"<": "relation", "<=": "relation", ">": "relation", ">=": "relation", "==": "relation",
         "!=": "relation", "&&": "logic", "||": "logic"}
# Statements whose loss leaks or loses something.
CLEANUPS = ("free", "close", "destroy", "release", "sync", "unlink", "munmap", "unlock", "flush")
# Calls without an effect that anything but a build with assertions could see.
SILENT = ("assert", "static_assert", "_Static_assert")


@dataclass(frozen=True)
class Mutant:
    function: str
    line: int  # counts from 1
    start: int  # bytes of the source that are replaced
    end: int
    text: str
    operator: str

    def applied(self, source):
        return source[: self.start] + self.text.encode() + source[self.end :]


def text_of(source, node):
    return source[node.start_byte : node.end_byte].decode(errors="replace")


def name_of(source, function):
    """The identifier inside a function's declarators."""
    node = function.child_by_field_name("declarator")
    while node is not None and node.type not in ("identifier", "field_identifier"):
        inner = node.child_by_field_name("declarator")
        if inner is None:
            inner = next((c for c in node.named_children if "declarator" in c.type or c.type == "identifier"), None)
        node = inner
    return text_of(source, node) if node is not None else "?"


def keep_lines(source, node, text):
    """The replacement with as many line breaks as what it replaces."""
    return text + "\n" * source[node.start_byte : node.end_byte].count(b"\n")


class Finder:
    def __init__(self, source):
        self.source = source
        self.found = []
        self.function = "?"

    def add(self, node, text, operator):
        text = keep_lines(self.source, node, text)
        if text != text_of(self.source, node):
            self.found.append(Mutant(self.function, node.start_point[0] + 1, node.start_byte,
                                     node.end_byte, text, operator))

    # ---- Operators ----

    def binary_expression(self, node):
        operator = node.child_by_field_name("operator")
        for other in MISTAKEN.get(operator.type, []):
            self.add(operator, other, KINDS.get(operator.type, "arithmetic"))

    def number_literal(self, node):
        text = text_of(self.source, node)
        digits = text.rstrip("uUlL")
        if digits.isdigit() and (digits == "0" or digits[0] != "0"):
            value = int(digits)
            suffix = text[len(digits):]
            self.add(node, f"{value + 1}{suffix}", "constant")
            if value > 0:
                self.add(node, f"{value - 1}{suffix}", "constant")

    def condition_of(self, node):
        condition = node.child_by_field_name("condition")
        if condition is None or condition.type != "parenthesized_expression":
            return
        inner = condition.named_children[0] if condition.named_children else None
        if inner is None:
            return
        text = text_of(self.source, inner)
        self.add(inner, f"!({text})".replace("\n", " "), "negated condition")
        if node.type == "if_statement":
            self.add(inner, f"({text}) && 0".replace("\n", " "), "missing check")

    if_statement = condition_of

    def conditional_expression(self, node):
        yes = node.child_by_field_name("consequence")
        no = node.child_by_field_name("alternative")
        if yes is not None and no is not None:
            self.add(node, text_of(self.source, no).replace("\n", " "), "one side of ?:")

    def expression_statement(self, node):
        inner = node.named_children[0] if node.named_children else None
        if inner is None or node.parent is None or node.parent.type not in ("compound_statement", "case_statement"):
            return
        if inner.type == "call_expression":
            callee = text_of(self.source, inner.child_by_field_name("function"))
            if callee in SILENT:
                return
            if callee == "TRY":
                self.skip_check(node, inner)
                return
            kind = "missing clean-up" if any(word in callee for word in CLEANUPS) else "dropped call"
            self.add(node, ";", kind)
        elif inner.type in ("assignment_expression", "update_expression"):
            self.add(node, ";", "dropped assignment")

    def skip_check(self, node, call):
        arguments = call.child_by_field_name("arguments").named_children
        if len(arguments) == 1:
            text = text_of(self.source, arguments[0]).replace("\n", " ")
            self.add(node, f"if ({text}) {{}}", "skipped error check")
            self.add(node, ";", "dropped call")

    def call_expression(self, node):
        arguments = node.child_by_field_name("arguments").named_children
        arguments = [a for a in arguments if a.type != "comment"]
        for left, right in zip(arguments, arguments[1:]):
            between = self.source[left.end_byte : right.start_byte].decode(errors="replace")
            swapped = text_of(self.source, right) + between + text_of(self.source, left)
            if "string_literal" in (left.type, right.type) or "concatenated_string" in (left.type, right.type):
                continue
            if left.type == right.type:
                self.found.append(Mutant(self.function, left.start_point[0] + 1, left.start_byte,
                                         right.end_byte, swapped, "swapped arguments"))

    def return_statement(self, node):
        value = node.named_children[0] if node.named_children else None
        if value is not None and value.type in ("true", "false"):
            self.add(value, "false" if value.type == "true" else "true", "constant")

    # ---- The walk ----

    def visit(self, node):
        if node.type == "function_definition":
            self.function = name_of(self.source, node)
            node = node.child_by_field_name("body")
            if node is None:
                return
        if self.function != "?":
            handler = getattr(self, node.type, None)
            if handler is not None and node.is_named:
                handler(node)
        if node.type == "call_expression" and text_of(self.source, node.child_by_field_name("function")) in SILENT:
            return
        for child in node.children:
            self.visit(child)


def mutants_of(source):
    """Every mutant of a file's functions, in the order of the source."""
    tree = tree_sitter.Parser(LANGUAGE).parse(source)
    finder = Finder(source)
    for node in tree.root_node.children:
        finder.function = "?"
        if node.type in ("function_definition", "preproc_ifdef", "preproc_if"):
            finder.visit(node)
    return finder.found
