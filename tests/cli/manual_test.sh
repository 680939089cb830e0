#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Manual pages and completions: every command and every option that its help has is in them, and roff and shells take them.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

run_program help --list
mapfile -t commands <out
run_program --help
[ "$(grep -cE '^  [a-z]+ ' out)" -eq "${#commands[@]}" ] || fail "--list has ${#commands[@]} commands"
expect_output '.TH "SLUICE" 1' help --man
cp out sluice.1
for shell in bash zsh fish; do
    expect_output sluice help --completion "$shell"
    cp out "complete.$shell"
    if command -v "$shell" >/dev/null; then "$shell" -n "complete.$shell" || fail "$shell does not take its completion"; fi
done
for command in "${commands[@]}"; do
    grep -q "^.\?fBsluice.-$command.fR(1)\$" sluice.1 || fail "sluice(1) does not name $command"
    expect_output ".TH \"SLUICE-${command^^}\" 1" help --man "$command"
    cp out "sluice-$command.1"
    if command -v groff >/dev/null; then
        [ -z "$(groff -man -Tutf8 -ww "sluice-$command.1" 2>&1 >/dev/null)" ] || fail "groff warns of sluice-$command(1)"
    fi
    [ "$command" != help ] || continue
    run_program "$command" --help
    mapfile -t options < <(grep -oE -- '^ +(-[a-z], +)?--[a-z-]+' out | grep -oE -- '--[a-z-]+' | sort -u)
    [ "${#options[@]}" -ge 1 ] || fail "$command has no options"
    for option in "${options[@]}"; do
        grep -qF -- "\\fB${option//-/\\-}\\fR" "sluice-$command.1" || fail "sluice-$command(1) lacks $option"
        grep -E "^    $command\) options=" complete.bash | grep -qE -- " $option(=| |')" || fail "bash: $command lacks $option"
        sed -n "/^    $command)/,/;;/p" complete.zsh | grep -qE -- "['*)]$option=?\[" || fail "zsh: $command lacks $option"
        grep -qE -- "'__sluice_is $command' -l ${option#--} " complete.fish || fail "fish: $command lacks $option"
    done
done

# The tables of `sluice help TOPIC`: Markdown in a pipe, lines of 80 columns on a terminal, with the same words.
if command -v script >/dev/null; then
    for topic in job fields models formats; do
        expect_output '| --- |' help "$topic"
        script -qec "'$SLUICE' help $topic" shown >/dev/null </dev/null
        sed '/^Script /d' shown | tr -d '\r' >text
        [ "$(LC_ALL=C.UTF-8 wc -L <text)" -le 80 ] || grep -vE '^ *[^ ]+$' text | LC_ALL=C.UTF-8 awk 'length > 80 { exit 1 }' || fail "help $topic: wider than a terminal"
        ! grep -q '[|`]' text || fail "help $topic: Markdown on a terminal"
        words() { grep -oE '[A-Za-z]{4,}' | sort -u; }
        # Headings of first and last columns are left out.
        lost=$(comm -23 <(awk '/^\| ---/ { line = "" } { if (line != "") print line; line = $0 } END { print line }' out | words) <(words <text))
        [ -z "$lost" ] || fail "help $topic: words are lost: $(head -n 3 <<<"$lost")"
    done
    script -qec "'$SLUICE' help job" shown >/dev/null </dev/null
    tr -d '\r' <shown | grep -A 1 '^model.path$' | grep -q '^    value: string; default: required$' || fail "help job on a terminal: $(head -n 6 shown)"
fi
expect_error 2 "--man: none is no command" help --man none
expect_error 2 "expected one of bash, zsh, fish" help --completion ksh
finish
