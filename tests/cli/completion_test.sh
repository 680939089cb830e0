#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Completions as shells make them: what is typed, with Tab, in a bash and a zsh on a terminal of their own; what fish is asked for. Shells that
# are not installed are left out, and a line says so.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

mkdir functions models
: >err
: >models/of-mine.gguf
: >"my job.yaml"
for shell in bash zsh fish; do "$SLUICE" help --completion "$shell" >"functions/$shell"; done
cp functions/zsh functions/_sluice
cat >typed <<'CASES'
ru|run
export --for|--format=
export --format=cs|--format=csv
export --format cs|csv
export --where=finish=s|--where=finish=stop
export --where finish=le|finish=length
rerun -o models/of|models/of-mine.gguf
rerun --output=models/of|--output=models/of-mine.gguf
run --set model.pa|model.path=
run --set generate.max|generate.max_new_tokens=
run --set=generate.max|--set=generate.max_new_tokens=
run --set model.dtype=fp|model.dtype=fp8
run --set=model.dtype=fp|--set=model.dtype=fp8
check --set generate.ignore_eos=t|generate.ignore_eos=true
run --set model.path=models/of|model.path=models/of-mine.gguf
run --set=model.path=models/of|--set=model.path=models/of-mine.gguf
run my|my job.yaml
compare --by r|row
logits --device cu|cuda
help fo|formats
help exp|export
status --wa|--watch
CASES

# Both shells here call a function instead of the program: the last word of each line that was typed.
cat >bashrc <<'RC'
source functions/bash
sluice() { printf '%s\n' "${!#}" >>seen; }
RC
mkdir zsh
cat >zsh/.zshrc <<'RC'
fpath=("$PWD/functions" $fpath)
autoload -U compinit && compinit -u -D
setopt no_beep
sluice() { print -r -- "$@[$#]" >>seen }
RC
# offered_on_terminal COMMAND: types all lines, each with Tab and Enter.
offered_on_terminal() {
    rm -f seen
    : >seen
    { while IFS='|' read -r line _; do printf 'sluice %s\t\n' "$line"; done <typed; printf 'exit\n'; } |
        TERM=dumb timeout 60 script -qec "$1" terminal >/dev/null || fail "$1: the shell ended badly"
}
expect_all() { # SHELL FILE
    cut -d '|' -f 2 typed | diff - "$2" >difference || fail "$1 completes otherwise: $(head -n 8 difference)"
}
if command -v script >/dev/null; then
    offered_on_terminal "bash --noprofile --rcfile bashrc -i"
    expect_all bash seen
    if command -v zsh >/dev/null; then
        ZDOTDIR=$PWD/zsh offered_on_terminal "zsh -d -i"
        expect_all zsh <(sed 's/^--format$/--format=/' seen) # Enter takes a "=" away that zsh has put there
    else
        echo "(zsh is not installed)"
    fi
else
    echo "(no terminals here: script is not installed)"
fi
if command -v fish >/dev/null; then
    while IFS='|' read -r line _; do
        HOME=$PWD fish --no-config -c 'source functions/fish; complete -C $argv[1]' "sluice $line" | cut -f 1
    done <typed >asked
    expect_all fish <(sed 's/\\ / /g; s/^--format$/--format=/' asked)
    HOME=$PWD fish --no-config -c 'source functions/fish; complete -C "sluice run --set "' | cut -f 1 | sort >keys
    "$SLUICE" help job | sed -nE 's/^\| `([a-z_.]+)` \|.*/\1=/p' | sort | diff - keys >difference || fail "fish offers other keys: $(head -n 5 difference)"
else
    echo "(fish is not installed)"
fi

# Words that completions offer are those that the options take.
count=0
while read -r command option words <&3; do
    count=$((count + 1))
    run_program "$command" "$option=no-such"
    for word in ${words//|/ }; do
        grep -qE -- "(expected|one of).*\b$word\b" err || fail "$command $option: help offers $word, the message does not: $(cat err)"
    done
    named=$(sed -nE 's/.*expected (one of )?(.*), not .*/\2/p' err | sed -E 's/, | or /\n/g' | sort)
    [ "$named" = "$(tr '|' '\n' <<<"$words" | sort)" ] || fail "$command $option: the message names $named"
done 3< <(for command in $("$SLUICE" help --list); do
    [ "$command" != help ] || continue
    "$SLUICE" "$command" --help | grep -oE -- '--[a-z-]+=[^ ]+\|[^ ]+' | grep -v '[A-Z]' | tr -d '[]' | sort -u | sed "s/^/$command /; s/=/ /" || true
done)
[ "$count" -ge 10 ] || fail "only $count options with words"
finish
