/* SPDX-License-Identifier: Apache-2.0 */
/* HTML around a report. */
#include "cli/report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Colours are pairs for light and dark, chosen once here; charts name them. The slow rank's is used
 * for nothing else. Paper gets the light ones. */
static const char style[] =
    ":root{--back:#fff;--card:#f6f7f9;--ink:#1c2330;--soft:#5b6575;--line:#d5dae2;--main:#2f6fb3;"
    "--second:#8a6fc0;--third:#3f9a6b;--fourth:#c08a2f;--idle:#c3c9d3;--slow:#d0342c;"
    "--slowback:#fdecea}"
    "@media (prefers-color-scheme:dark){:root{--back:#14171c;--card:#1d2229;--ink:#e4e8ee;"
    "--soft:#9aa5b5;--line:#363e4a;--main:#6aa6e8;--second:#b39ce6;--third:#67c496;--fourth:#"
    "e0b15a;"
    "--idle:#4a5362;--slow:#ff6b61;--slowback:#3a2021}}"
    "@media print{:root{--back:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--main:#2f6fb3;"
    "--second:#8a6fc0;--third:#3f9a6b;--fourth:#c08a2f;--idle:#c3c9d3;--slow:#d0342c;"
    "--slowback:#fff}figure,tr,.alarm{break-inside:avoid}h2{break-after:avoid}.wide{overflow:"
    "visible!important}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--back);color:var(--ink);"
    "font:15px/1.45 system-ui,sans-serif}"
    "h1{font-size:1.35rem;margin:.2rem 0;overflow-wrap:anywhere}"
    "h2{font-size:1.05rem;margin:0 0 .6rem}"
    "section{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.9rem 1rem;margin:1rem 0}"
    ".soft,figcaption{color:var(--soft);font-size:.86rem}"
    ".alarm{border:2px solid var(--slow);background:var(--slowback);border-radius:8px;"
    "padding:.7rem 1rem;margin:1rem 0}.alarm b{color:var(--slow)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(6.4rem,1fr));gap:.5rem;"
    "margin:1rem 0}"
    ".tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.45rem .65rem}.tiles b{display:block;font-size:1.15rem;overflow-wrap:anywhere}"
    ".tiles span{color:var(--soft);font-size:.8rem}"
    ".wide{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .5rem;border-bottom:1px solid var(--line);text-align:right;"
    "vertical-align:top;white-space:nowrap}"
    "th{font-weight:600;color:var(--soft);font-size:.82rem}"
    "td.t,th.t{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:4.5rem}"
    "tr.slow td{background:var(--slowback)}tr.slow td:first-child{box-shadow:inset 4px 0 "
    "var(--slow)}"
    ".why{max-width:calc(100vw - 9rem)}.slow-mark{color:var(--slow);font-weight:700}"
    ".facts th{text-align:left;width:11rem}.facts td{text-align:left;white-space:pre-wrap;"
    "overflow-wrap:anywhere}"
    "pre{background:var(--back);border:1px solid var(--line);border-radius:6px;padding:.6rem;"
    "overflow-x:auto;font-size:.78rem;margin:.4rem 0;white-space:pre-wrap;overflow-wrap:anywhere}"
    "figure{margin:0;padding-bottom:1.2rem}figcaption{margin-bottom:.55rem;color:var(--ink)}"
    ".chart{position:relative;margin:0 .5rem 1.3rem 3.4rem;height:9.5rem;"
    "border-left:1px solid var(--line);border-bottom:1px solid var(--line)}"
    ".chart svg{position:absolute;inset:0;width:100%;height:100%;display:block}"
    ".chart .y,.chart .x{position:absolute;color:var(--soft);font-size:.72rem;white-space:nowrap}"
    ".chart .y{right:calc(100% + .35rem);transform:translateY(-50%)}"
    ".chart .x{top:calc(100% + .15rem);transform:translateX(-50%)}"
    ".key{display:flex;flex-wrap:wrap;gap:.2rem .9rem;font-size:.8rem;color:var(--soft);"
    "margin:0 0 .3rem}.key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;"
    "margin-right:.35em;vertical-align:-.05em}"
    ".bar{height:1.05rem;width:100%;display:block;border-radius:3px;min-width:8rem}"
    ".halves{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:0 1.2rem}"
    "@media (max-width:480px){body{padding:.5rem;font-size:14px}section{padding:.7rem .6rem}"
    ".chart{margin-left:2.9rem;height:8.2rem}.facts th{width:6.5rem}th,td{padding:.25rem "
    ".3rem}.more{display:none}"
    "td.t,th.t{min-width:3.1rem}th.t{overflow-wrap:normal}.bar{min-width:3.8rem}}";

/* ---- Texts ---- */

static status append_character(const char *text, size_t size, struct buffer *out)
{
    switch (text[0]) {
    case '&':
        return buffer_append_text(out, "&amp;");
    case '<':
        return buffer_append_text(out, "&lt;");
    case '>':
        return buffer_append_text(out, "&gt;");
    case '"':
        return buffer_append_text(out, "&quot;");
    case '\'':
        return buffer_append_text(out, "&#39;");
    case '\n':
        return buffer_append_byte(out, '\n');
    default:
        break;
    }
    const bool is_control = (unsigned char)text[0] < 0x20 || text[0] == 0x7F;
    return is_control ? buffer_append_byte(out, ' ') : buffer_append(out, text, size);
}

/* Characters that turn the direction of what stands around them could make a page say other things
 * than it holds. */
static bool turns_direction(int32_t c)
{
    return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E ||
           c == 0x200F || (c >= 0x80 && c < 0xA0);
}

status html_text(const char *text, size_t length, struct buffer *out)
{
    for (size_t at = 0, size; at < length; at += size) {
        const int32_t c = utf8_decode(text + at, length - at, &size);
        TRY(c < 0 || turns_direction(c) ? buffer_append_text(out, "\xEF\xBF\xBD")
                                        : append_character(text + at, size, out));
    }
    return STATUS_OK;
}

status html_excerpt(const char *text, size_t most, struct buffer *out)
{
    const size_t length = strlen(text);
    size_t at = 0;
    for (size_t size; at < length && most > 0; at += size, most--) {
        utf8_decode(text + at, length - at, &size);
    }
    TRY(html_text(text, at, out));
    return at < length ? buffer_append_text(out, "…") : STATUS_OK;
}

status html_count(int64_t number, struct buffer *out)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)number);
    const int sign = digits[0] == '-';
    for (int i = 0; i < length; i++) {
        if (i > sign && (length - i) % 3 == 0) {
            TRY(buffer_append_byte(out, ','));
        }
        TRY(buffer_append_byte(out, digits[i]));
    }
    return STATUS_OK;
}

status html_number(double number, struct buffer *out)
{
    if (!isfinite(number)) {
        return buffer_append_text(out, "–");
    }
    if (fabs(number) < 1e15 && (fabs(number) >= 100 || number == floor(number))) {
        return html_count(llround(number), out);
    }
    return buffer_format(out, "%.3g", number);
}

/* ---- The frame ---- */

status html_begin(const char *title, struct buffer *out)
{
    TRY(buffer_append_text(
        out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
             "style-src 'unsafe-inline'\">\n<title>"));
    TRY(html_text(title, strlen(title), out));
    TRY(buffer_append_text(out, "</title>\n<style>"));
    TRY(buffer_append_text(out, style));
    return buffer_append_text(out, "</style></head>\n<body>\n");
}

status html_end(struct buffer *out)
{
    return buffer_append_text(out, "</body></html>\n");
}

status html_section(const char *heading, struct buffer *out)
{
    return buffer_format(out, "<section><h2>%s</h2>\n", heading);
}

status html_section_end(struct buffer *out)
{
    return buffer_append_text(out, "</section>\n");
}

status html_row(const char *name, const char *text, struct buffer *out)
{
    if (text == NULL || text[0] == '\0') {
        return STATUS_OK;
    }
    TRY(buffer_append_text(out, "<tr><th>"));
    TRY(html_text(name, strlen(name), out));
    TRY(buffer_append_text(out, "</th><td>"));
    TRY(html_text(text, strlen(text), out));
    return buffer_append_text(out, "</td></tr>\n");
}
