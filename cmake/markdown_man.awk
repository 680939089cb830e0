# SPDX-License-Identifier: Apache-2.0
# A page of docs/ as a manual page, section 5: headings, paragraphs, lists, tables (the first cell is a term), code. Variables: name, summary,
# version, date. In the locale C, where a byte is a character.
function ord(byte) { return index(bytes, byte) + 127 }
# Letters beyond ASCII by number, as roff has them.
function ascii(text,    out, byte, count, point) {
    gsub(/\342\200\246/, "...", text)
    if (text !~ /[\200-\377]/) return text
    for (out = ""; text != ""; text = substr(text, 2)) {
        byte = substr(text, 1, 1)
        if (index(bytes, byte) == 0) { out = out byte; continue }
        point = ord(byte)
        count = point >= 240 ? 3 : point >= 224 ? 2 : 1
        point -= point >= 240 ? 240 : point >= 224 ? 224 : 192
        for (; count > 0; count--) {
            text = substr(text, 2)
            point = point * 64 + ord(substr(text, 1, 1)) - 128
        }
        out = out sprintf("\\[u%04X]", point)
    }
    return out
}
# *Words* become marks first: a dash or a backquote between them changes what stands there.
function mark_emphasis(text,    part) {
    while (match(text, /(^|[ (])\*[^* `][^*`]*\*/)) {
        part = substr(text, RSTART, RLENGTH)
        sub(/\*/, "\002", part)
        sub(/\*/, "\003", part)
        text = substr(text, 1, RSTART - 1) part substr(text, RSTART + RLENGTH)
    }
    return text
}
function plain(text,    link, label, bold, out, at) {
    gsub(/\\/, "\\e", text)
    text = mark_emphasis(text)
    while (match(text, /\[[^]]*\]\([^)]*\)/)) {
        link = substr(text, RSTART, RLENGTH)
        label = link
        sub(/^\[/, "", label)
        sub(/\]\(.*$/, "", label)
        text = substr(text, 1, RSTART - 1) label substr(text, RSTART + RLENGTH)
    }
    gsub(/-/, "\\-", text)
    while ((at = index(text, "`")) > 0) {
        out = out substr(text, 1, at - 1) (bold ? "\\fR" : "\\fB")
        bold = !bold
        text = substr(text, at + 1)
    }
    out = out text
    gsub(/\*\*/, "", out)
    gsub(/\002/, "\\fI", out)
    gsub(/\003/, "\\fR", out)
    out = ascii(out)
    return out ~ /^['.]/ ? "\\&" out : out
}
function verbatim(line) {
    gsub(/\\/, "\\e", line)
    gsub(/-/, "\\-", line)
    line = ascii(line)
    return line ~ /^['.]/ ? "\\&" line : line
}
# From one kind of block into another: code ends, and text begins a paragraph where it does not follow a heading or go on.
function enter(next_mode) {
    if (mode == "code" && next_mode != "code") print ".fi\n.RE"
    if (next_mode == "code" && mode != "code") print (mode == "heading" ? "" : ".sp\n") ".RS 4\n.nf"
    if (next_mode == "text" && mode != "heading" && (mode != "text" || blank)) print ".PP"
    mode = next_mode
    blank = 0
}
BEGIN {
    for (i = 128; i < 256; i++) bytes = bytes sprintf("%c", i)
    title = toupper(name)
    printf ".TH \"%s\" 5 \"%s\" \"sluice %s\" \"sluice\"\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n", title, date, version, plain(name), plain(summary)
    mode = "heading"
}
/^```/ { fenced = !fenced; enter(fenced ? "code" : "fence"); next }
fenced { print verbatim($0); next }
/^# / { next }
/^##+ / { enter("heading"); level = $1; sub(/^#+ /, ""); print (level == "##" ? ".SH " : ".SS ") "\"" plain($0) "\""; next }
/^    / && mode != "list" {
    if (mode == "code" && blank) print ""
    enter("code")
    sub(/^    /, "")
    print verbatim($0)
    next
}
/^\|[-| ]*$/ { next }
/^\|/ {
    enter("table")
    line = $0
    sub(/^\| */, "", line)
    sub(/ *\|$/, "", line)
    gsub(/\\\|/, "\001", line)
    count = split(line, cells, / *\| */)
    for (i = 1; i <= count; i++) gsub(/\001/, "|", cells[i])
    rest = ""
    for (i = 2; i <= count; i++) if (cells[i] != "") rest = rest (rest == "" ? "" : "; ") cells[i]
    if (rest != "" && cells[1] == "") printf ".IP\n%s\n", plain(rest) # more of the term above
    else if (rest != "") printf ".TP\n%s\n%s\n", plain(cells[1]), plain(rest)
    next
}
/^[-*] / { enter("list"); sub(/^[-*] /, ""); print ".IP \\(bu 2\n" plain($0); next }
/^ +[^ ]/ && mode == "list" { if (blank) print ".sp"; blank = 0; sub(/^ +/, ""); print plain($0); next }
/^$/ { blank = 1; next }
{ enter("text"); print plain($0) }
END {
    enter("end")
    print ".SH SEE ALSO\n\\fBsluice\\fR(1), \\fBsluice\\-check\\fR(1), \\fBsluice\\-run\\fR(1)"
    print ".PP\nPages that are named here, such as data\\-sets.md, are in share/doc/sluice beside share/man."
}
