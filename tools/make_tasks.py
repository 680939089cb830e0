#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes rows of small checkable tasks: the questions that data/small-model was trained to answer.

    tools/make_tasks.py --rows 1000 --seed 1 --split held-out > data/tasks.jsonl
    tools/make_tasks.py --rows 200000 --seed 7 --plain > load.jsonl

A row is {"id", "messages", "expected", "task"}. Questions fall into two halves that never meet: the checksum of what
a question is about (its operands, not only its wording) decides whether training may see it. --split held-out prints
only questions that training never sees, --split train only the others, and any, the default, prints both.
The same arguments print the same bytes on every machine. Needs nothing but Python's standard library.
"""

import argparse
import json
import random
import sys
import zlib
from typing import Callable, NamedTuple

HELD_OUT_ONE_IN = 16


class Question(NamedTuple):
    task: str
    subject: str  # what the question is about; decides its split
    prompt: str
    answer: str


WORDS = """
ant apple arm arrow autumn baby bag ball banana bank barn basket bath beach bean bear bed bee bell belt bench berry
bird black blanket blue boat bone book boot bottle bowl box boy branch bread breeze brick bridge broom brother brown
brush bucket bus bush butter button cabin cake camel camera camp candle candy car card carpet carrot cart castle cat
cave chair chalk cheese cherry chess child circle city clay clock cloth cloud clover coal coat coffee coin comb cookie
copper corn cotton cow crab crane cream crown cup curtain daisy dance day deer desk diamond dish dog doll dolphin
donkey door dove dragon dream dress drum duck dust eagle ear earth egg elbow engine evening eye face fair farm father
feather fence fern field finger fire fish flag flame flock floor flower flute fog forest fork fox frog fruit garden
gate ghost gift girl glass globe glove goat gold goose grape grass green guitar hair hammer hand harbor hat hawk hay
heart hedge hen hill honey hook horn horse hotel house ice ink iron island ivory ivy jacket jam jar jelly jewel juice
jungle kettle key king kitchen kite knee knife knot ladder lake lamb lamp lantern leaf leather lemon letter lily lime
lion lizard lock log lunch map maple marble market mask meadow meal melon metal milk mill mirror mist mitten money
monkey moon morning moss mother mountain mouse mouth music nail needle nest net night north nose nurse nut oak ocean
olive onion orange orchard otter oven owl paint palace palm pan panda paper park parrot path peach peanut pear pearl
pebble pen pencil pepper piano picnic picture pig pillow pilot pine pink pipe pirate plane planet plant plate plum
pocket poem pond pony pool potato prince pumpkin puppy purple queen quilt rabbit radio rain raven red ribbon rice ring
river road robin robot rock roof room root rope rose ruler sail salad salt sand scarf school sea seed shadow sheep
shell ship shirt shoe shop silk silver sister sky sleep slipper smoke snail snake snow soap sock soil song soup south
spider spoon spring square squirrel stable star station steam stone storm story street sugar summer sun swan table
tail tea tent thread tiger tin toast tomato tower town toy train tree truck tulip tunnel turtle uncle valley vase
village violin voice wagon wall walnut water wave wax west whale wheat wheel whistle white willow wind window wing
winter wolf wood wool worm yard yellow zebra
""".split()

# Text outside ASCII, for copying: byte-level tokens then cut characters in two, as they do in real answers.
SYMBOLS = list("äöüßéèêñçåøłžšğıαβγδπσωжцчшяюדשاب中文日本語한국✓★→∞€£°½😀🎉🌍🚀")
MARKS = list("!?.,:;-+*/=<>()[]{}'\"\\&%$#@~^_|")
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
SYSTEM_MESSAGES = [
    "You are a careful assistant.",
    "Answer with the result alone.",
    "You solve small puzzles.",
    "Be brief and exact.",
]


def invented_word(rng: random.Random) -> str:
    syllables = rng.randint(1, 3)
    word = "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(syllables))
    return word + rng.choice(["", "", "n", "r", "s", "t", "l"])


def any_word(rng: random.Random) -> str:
    return invented_word(rng) if rng.random() < 0.25 else rng.choice(WORDS)


def some_words(rng: random.Random, least: int, most: int) -> list[str]:
    """Distinct words of the list."""
    return rng.sample(WORDS, rng.randint(least, most))


def number(rng: random.Random) -> int:
    """One to three digits, each length about as often as is useful to learn from."""
    return rng.randrange(10 ** rng.choice([1, 2, 2, 3, 3]))


def some_numbers(rng: random.Random, least: int, most: int) -> list[int]:
    return [rng.randrange(rng.choice([10, 100])) for _ in range(rng.randint(least, most))]


def spaced(items) -> str:
    return " ".join(str(item) for item in items)


def listed(rng: random.Random, items) -> str:
    """A list as people type it: mostly blanks between the items, at times commas."""
    return (", " if rng.random() < 0.25 else " ").join(str(item) for item in items)


def add(rng):
    a, b = number(rng), number(rng)
    wording = rng.choice(["What is {} + {}?", "{} + {} = ?", "Add {} and {}.", "What is the sum of {} and {}?",
                          "Compute {} + {}.", "How much is {} plus {}?"])
    return f"{a}+{b}", wording.format(a, b), str(a + b)


def subtract(rng):
    a, b = number(rng), number(rng)
    if a < b and rng.random() < 0.7:
        a, b = b, a
    if rng.random() < 0.4:
        wording = rng.choice(["Subtract {} from {}.", "Take {} away from {}."])
        return f"{a}-{b}", wording.format(b, a), str(a - b)
    wording = rng.choice(["What is {} - {}?", "{} - {} = ?", "Compute {} - {}.", "How much is {} minus {}?"])
    return f"{a}-{b}", wording.format(a, b), str(a - b)


def sort_numbers(rng):
    numbers = some_numbers(rng, 2, 13)
    subject, text = spaced(numbers), listed(rng, numbers)
    if rng.random() < 0.3:
        wording = rng.choice(["Sort these numbers from largest to smallest: {}", "Sort in descending order: {}"])
        return subject, wording.format(text), spaced(sorted(numbers, reverse=True))
    wording = rng.choice(["Sort these numbers: {}", "Sort these numbers from smallest to largest: {}",
                          "Put these numbers in order: {}", "Sort in ascending order: {}"])
    return subject, wording.format(text), spaced(sorted(numbers))


def sort_digits(rng):
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(2, 12)))
    wording = rng.choice(["Sort the digits of {}.", "Put the digits of {} in order.", "Sort these digits: {}"])
    return digits, wording.format(digits), "".join(sorted(digits))


def sort_words(rng):
    words = some_words(rng, 2, 7)
    wording = rng.choice(["Sort these words: {}", "Sort the words alphabetically: {}",
                          "Put these words in alphabetical order: {}", "Alphabetical order, please: {}"])
    return spaced(words), wording.format(listed(rng, words)), spaced(sorted(words))


def reverse_words(rng):
    words = [any_word(rng) for _ in range(rng.randint(2, 9))]
    wording = rng.choice(["Reverse the words: {}", "Reverse the order of these words: {}",
                          "Write these words backwards, last word first: {}", "Reverse this list: {}"])
    return spaced(words), wording.format(listed(rng, words)), spaced(reversed(words))


def reverse_letters(rng):
    if rng.random() < 0.4:
        letters = rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 14))
        wording = rng.choice(["Reverse the letters: {}", "Write these letters backwards: {}"])
        return spaced(letters), wording.format(spaced(letters)), spaced(reversed(letters))
    word = any_word(rng)
    wording = rng.choice(["Spell {} backwards.", "Reverse the letters of {}.", "Write the word {} backwards."])
    prompt = wording.format(word)
    return prompt, prompt, word[::-1]


def spell(rng):
    word = any_word(rng)
    prompt = rng.choice(["Spell the word {}.", "Spell {}.", "Write {} letter by letter."]).format(word)
    return prompt, prompt, spaced(word)


def upper_case(rng):
    words = [any_word(rng) for _ in range(rng.randint(1, 5))]
    wording = rng.choice(["Write in upper case: {}", "Write in capital letters: {}", "Make this upper case: {}"])
    prompt = wording.format(spaced(words))
    return prompt, prompt, spaced(words).upper()


def lower_case(rng):
    words = [any_word(rng) for _ in range(rng.randint(1, 5))]
    wording = rng.choice(["Write in lower case: {}", "Write in small letters: {}", "Make this lower case: {}"])
    prompt = wording.format(spaced(words).upper())
    return prompt, prompt, spaced(words)


def count_words(rng):
    if rng.random() < 0.4:
        words = some_words(rng, 2, 4)
        sought, others = words[0], words[1:]
        text = [sought if rng.random() < 0.45 else rng.choice(others) for _ in range(rng.randint(2, 9))]
        wording = rng.choice(["How many times does {} occur in: {}", "Count the word {} in: {}"])
        return f"{sought}: {spaced(text)}", wording.format(sought, spaced(text)), str(text.count(sought))
    words = [any_word(rng) for _ in range(rng.randint(1, 12))]
    wording = rng.choice(["How many words are there: {}", "Count the words: {}", "Count these items: {}",
                          "How many items are in this list: {}"])
    return spaced(words), wording.format(listed(rng, words)), str(len(words))


def largest(rng):
    numbers = some_numbers(rng, 2, 9)
    wording = rng.choice(["What is the largest of these numbers: {}", "Find the largest number: {}",
                          "Which number is the biggest: {}", "Maximum of {}?"])
    return spaced(numbers), wording.format(listed(rng, numbers)), str(max(numbers))


def smallest(rng):
    numbers = some_numbers(rng, 2, 9)
    wording = rng.choice(["What is the smallest of these numbers: {}", "Find the smallest number: {}",
                          "Which number is the least: {}", "Minimum of {}?"])
    return spaced(numbers), wording.format(listed(rng, numbers)), str(min(numbers))


def pick_word(rng):
    words = [any_word(rng) for _ in range(rng.randint(2, 8))]
    which = rng.randrange(-1, len(words))
    name = "last" if which == -1 else ORDINALS[which]
    wording = rng.choice(["What is the {} word of: {}", "Give me the {} word: {}", "Which word comes {}: {}"])
    return f"{name}: {spaced(words)}", wording.format(name, listed(rng, words)), words[which]


def copy(rng):
    kind = rng.random()
    if kind < 0.5:
        text = spaced(any_word(rng) for _ in range(rng.randint(1, 8)))
    elif kind < 0.65:
        text = spaced(number(rng) for _ in range(rng.randint(1, 8)))
    elif kind < 0.85:
        text = spaced("".join(rng.choices(SYMBOLS, k=rng.randint(1, 2))) for _ in range(rng.randint(1, 5)))
    else:
        text = spaced(rng.choice(MARKS) + any_word(rng) + rng.choice(MARKS) for _ in range(rng.randint(1, 5)))
    wording = rng.choice(["Repeat this: {}", "Copy this: {}", "Say exactly: {}", "Write this again: {}"])
    return text, wording.format(text), text


def compare(rng):
    a, b = number(rng), number(rng)
    if a == b:
        b += 1
    if rng.random() < 0.5:
        wording, answer = rng.choice([("Is {} greater than {}?", a > b), ("Is {} less than {}?", a < b)])
        return f"{a}?{b}", wording.format(a, b), "yes" if answer else "no"
    wording, answer = rng.choice([("Which is larger, {} or {}?", max(a, b)), ("Which is smaller, {} or {}?", min(a, b))])
    return f"{a}?{b}", wording.format(a, b), str(answer)


def parity(rng):
    value = number(rng)
    return f"{value}", rng.choice(["Is {} even or odd?", "Even or odd: {}"]).format(value), "odd" if value % 2 else "even"


def count_up(rng):
    first, steps = rng.randrange(87), rng.randint(1, 12)
    numbers = list(range(first, first + steps + 1))
    if rng.random() < 0.3:
        prompt = rng.choice(["Count down from {} to {}.", "Count backwards from {} to {}."]).format(numbers[-1], first)
        return prompt, prompt, spaced(reversed(numbers))
    prompt = rng.choice(["Count from {} to {}.", "List the numbers from {} to {}."]).format(first, numbers[-1])
    return prompt, prompt, spaced(numbers)


def initials(rng):
    words = [any_word(rng) for _ in range(rng.randint(1, 8))]
    wording = rng.choice(["Write the first letter of each word: {}", "Take the first letters of: {}"])
    return spaced(words), wording.format(spaced(words)), spaced(word[0] for word in words)


def lines(rng):
    words = [any_word(rng) for _ in range(rng.randint(2, 8))]
    wording = rng.choice(["Write each word on its own line: {}", "One word per line: {}", "Make these words lines: {}"])
    return spaced(words), wording.format(listed(rng, words)), "\n".join(words)


def commas(rng):
    words = [any_word(rng) for _ in range(rng.randint(2, 8))]
    wording = rng.choice(["Join with commas: {}", "Put commas between these words: {}", "Separate by commas: {}"])
    return spaced(words), wording.format(spaced(words)), ", ".join(words)


def replace(rng):
    words = some_words(rng, 3, 7)
    old, new, text = words[0], words[1], words[2:] + [words[0]]
    if rng.random() < 0.3:
        text.append(old)
    rng.shuffle(text)
    answer = spaced(new if word == old else word for word in text)
    wording = rng.choice(["Replace {} with {}: {}", "Write {old} as {new} in: {text}"])
    prompt = wording.format(old, new, spaced(text), old=old, new=new, text=spaced(text))
    return f"{old} {new} {spaced(text)}", prompt, answer


def remove(rng):
    words = some_words(rng, 2, 8)
    gone = rng.choice(words)
    wording = rng.choice(["Remove {} from: {}", "Leave out {}: {}", "Delete the word {}: {}"])
    left = spaced(word for word in words if word != gone)
    return f"{gone}: {spaced(words)}", wording.format(gone, listed(rng, words)), left


Maker = Callable[[random.Random], tuple[str, str, str]]
TASKS: dict[str, Maker] = {
    "add": add, "subtract": subtract, "sort": sort_numbers, "sort-digits": sort_digits, "sort-words": sort_words,
    "reverse-words": reverse_words, "reverse-letters": reverse_letters, "spell": spell, "upper": upper_case,
    "lower": lower_case, "count": count_words, "largest": largest, "smallest": smallest, "pick": pick_word,
    "copy": copy, "compare": compare, "parity": parity, "count-up": count_up, "initials": initials, "lines": lines,
    "commas": commas, "replace": replace, "remove": remove,
}


def is_held_out(task: str, subject: str) -> bool:
    return zlib.crc32(f"{task}|{subject}".encode()) % HELD_OUT_ONE_IN == 0


def make_question(rng: random.Random, split: str, weights: dict[str, float] | None = None) -> Question:
    """One question of the split ("train", "held-out" or "any"). Tasks are equally likely unless weighted by name."""
    names = list(TASKS)
    task = rng.choices(names, [weights.get(name, 1.0) for name in names])[0] if weights else rng.choice(names)
    while True:
        subject, prompt, answer = TASKS[task](rng)
        if split == "any" or is_held_out(task, subject) == (split == "held-out"):
            return Question(task, subject, prompt, answer)


def make_dialogue(rng: random.Random, split: str, plain: bool = False,
                  weights: dict[str, float] | None = None) -> tuple[list[dict], Question]:
    """Messages that end with a user's question, and that last question. Unless plain, some have a system message and
    some an earlier question with its right answer; those come from the same split."""
    messages = []
    if not plain and rng.random() < 0.12:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_MESSAGES)})
    if not plain and rng.random() < 0.12:
        for _ in range(rng.randint(1, 2)):
            earlier = make_question(rng, split, weights)
            messages.append({"role": "user", "content": earlier.prompt})
            messages.append({"role": "assistant", "content": earlier.answer})
    question = make_question(rng, split, weights)
    messages.append({"role": "user", "content": question.prompt})
    return messages, question


def make_rows(count: int, seed: int, split: str, plain: bool = False):
    """Yields rows in a fixed order. A prompt comes twice only where a task has run out of fresh ones."""
    rng = random.Random(f"{split}-{seed}")
    seen, numbers = set(), dict.fromkeys(TASKS, 0)
    for _ in range(count):
        for _ in range(20):
            messages, question = make_dialogue(rng, split, plain)
            if question.prompt not in seen:
                break
        seen.add(question.prompt)
        numbers[question.task] += 1
        yield {"id": f"{question.task}-{numbers[question.task]:04d}", "messages": messages,
               "expected": question.answer, "task": question.task}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=["any", "train", "held-out"], default="any")
    parser.add_argument("--plain", action="store_true", help="one user message a row, no system message, no earlier turns")
    arguments = parser.parse_args()
    if arguments.rows < 0:
        parser.error("--rows must not be negative")
    for row in make_rows(arguments.rows, arguments.seed, arguments.split, arguments.plain):
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
