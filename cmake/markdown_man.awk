# SPDX-License-Identifier: Apache-2.0
# A page of docs/ as a manual page, section 5: headings, paragraphs, lists, tables (the first cell is a term), code. Variables: name, summary,
# version.
function plain(text) {
    gsub(/\\/, "\\e", text)
    while (match(text, /\[[^]]*\]\([^)]*\)/)) {
        link = substr(text, RSTART, RLENGTH)
        label = link
        sub(/^\[/, "", label)
        sub(/\]\(.*$/, "", label)
        text = substr(text, 1, RSTART - 1) label substr(text, RSTART + RLENGTH)
    }
    gsub(/-/, "\\-", text)
    bold = 0
    out = ""
    while ((at = index(text, "`")) > 0) {
        out = out substr(text, 1, at - 1) (bold ? "\\fR" : "\\fB")
        bold = !bold
        text = substr(text, at + 1)
    }
    out = out text
    gsub(/\*\*/, "", out)
    if (out ~ /^['.]/) out = "\\&" out
    return out
}
function verbatim(line) {
    gsub(/\\/, "\\e", line)
    gsub(/-/, "\\-", line)
    return line ~ /^['.]/ ? "\\&" line : line
}
function leave(state) {
    if (mode == "code" && state != "code") print ".fi\n.RE"
    if (mode == "list" && state != "list" && state != "text") print ".PP"
    mode = state
}
BEGIN {
    title = toupper(name)
    printf ".TH \"%s\" 5 \"\" \"sluice %s\" \"sluice\"\n.SH NAME\n%s \\- %s\n.SH DESCRIPTION\n", title, version, plain(name), plain(summary)
}
/^```/ { fenced = !fenced; if (fenced) { leave("code"); print ".RS 4\n.nf" } else leave(""); next }
fenced { print verbatim($0); next }
/^# / { next }
/^##+ / { leave(""); level = $1; sub(/^#+ /, ""); print (level == "##" ? ".SH " : ".SS ") "\"" plain($0) "\""; next }
/^    / && mode != "list" { if (mode != "code") { leave("code"); print ".RS 4\n.nf" } sub(/^    /, ""); print verbatim($0); next }
/^\|[-| ]*$/ { next }
/^\|/ {
    leave("table")
    line = $0
    sub(/^\| */, "", line)
    sub(/ *\|$/, "", line)
    gsub(/\\\|/, "\001", line)
    count = split(line, cells, / *\| */)
    for (i = 1; i <= count; i++) gsub(/\001/, "|", cells[i])
    rest = ""
    for (i = 2; i <= count; i++) if (cells[i] != "") rest = rest (rest == "" ? "" : "; ") cells[i]
    printf ".TP\n%s\n%s\n", plain(cells[1] == "" ? "\\&" : cells[1]), plain(rest)
    next
}
/^[-*] / { leave("list"); sub(/^[-*] /, ""); print ".IP \\(bu 2\n" plain($0); next }
/^ +[^ ]/ && mode == "list" { sub(/^ +/, ""); print plain($0); next }
/^$/ { if (mode == "code") print ""; else { if (mode != "blank") print ".PP"; if (mode != "list") mode = "blank" } next }
{ if (mode == "list") print ".PP"; leave("text"); print plain($0) }
END { leave("") ; print ".SH SEE ALSO\n\\fBsluice\\fR(1), \\fBsluice\\-check\\fR(1), \\fBsluice\\-run\\fR(1)" }
