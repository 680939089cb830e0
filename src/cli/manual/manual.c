/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages, in roff. */
#include "cli/manual/manual.h"

#include <string.h>

/* Text as roff has it: letters beyond ASCII by number, no backslash, no full stop or quote at the
 * start of a line, and dashes that can be copied. */
static status append_text(struct buffer *out, const char *text, size_t length)
{
    for (size_t i = 0, size; i < length; i += size) {
        int32_t point = utf8_decode(text + i, length - i, &size);
        bool first = out->length == 0 || out->data[out->length - 1] == '\n';
        if (first && (text[i] == '.' || text[i] == '\'')) {
            TRY(buffer_append_text(out, "\\&"));
        }
        TRY(point == 0x2026   ? buffer_append_text(out, "...") /* in every terminal's letters */
            : point > 0x7F    ? buffer_format(out, "\\[u%04X]", (unsigned)point)
            : text[i] == '\\' ? buffer_append_text(out, "\\e")
            : text[i] == '-'  ? buffer_append_text(out, "\\-")
                              : buffer_append_byte(out, text[i]));
    }
    return STATUS_OK;
}

static status append_line(struct buffer *out, const char *text)
{
    TRY(append_text(out, text, strlen(text)));
    return buffer_append_byte(out, '\n');
}

/* "SLUICE-RUN" 1, and NAME. */
static status append_head(struct buffer *out, const char *name, const char *summary)
{
    TRY(buffer_append_text(out, ".TH \"SLUICE"));
    for (const char *c = name; *c != '\0'; c++) {
        TRY(buffer_append_byte(out, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c));
    }
    TRY(buffer_append_text(out, "\" 1 \"" SLUICE_DATE "\" \"sluice " SLUICE_VERSION
                                "\" \"sluice\"\n.SH NAME\n"));
    TRY(buffer_append_text(out, "sluice"));
    TRY(append_text(out, name, strlen(name)));
    TRY(buffer_append_text(out, " \\- "));
    return append_line(out, summary);
}

static bool is_end(const struct argp_option *option)
{
    return option->name == NULL && option->key == 0 && option->doc == NULL;
}

static status append_option(struct buffer *out, const struct argp_option *option)
{
    TRY(buffer_append_text(out, ".TP\n\\fB"));
    if (option->key > ' ' && option->key < 0x7F) {
        TRY(buffer_format(out, "\\-%c\\fR, \\fB", option->key));
    }
    TRY(buffer_append_text(out, "\\-\\-"));
    TRY(append_text(out, option->name, strlen(option->name)));
    TRY(buffer_append_text(out, "\\fR"));
    if (option->arg != NULL) {
        const bool may_lack = option->flags & OPTION_ARG_OPTIONAL;
        TRY(buffer_append_text(out, may_lack ? "[=\\fI" : "=\\fI"));
        TRY(append_text(out, option->arg, strlen(option->arg)));
        TRY(buffer_append_text(out, may_lack ? "\\fR]" : "\\fR"));
    }
    TRY(buffer_append_byte(out, '\n'));
    return append_line(out, option->doc != NULL ? option->doc : "");
}

static status append_options(struct buffer *out, const struct argp *argp)
{
    TRY(buffer_append_text(out, ".SH OPTIONS\n"));
    for (const struct argp_option *option = argp->options; option != NULL && !is_end(option);
         option++) {
        TRY(option->name != NULL ? append_option(out, option) : STATUS_OK);
    }
    return buffer_append_text(out, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nprint this\n");
}

static status append_status(struct buffer *out)
{
    return buffer_append_text(out, ".SH EXIT STATUS\n0 done; 1 failed; 2 bad usage or bad job; 75 "
                                   "stopped early and resumable.\n");
}

status manual_write_command(const struct manual_command *command, struct buffer *out)
{
    const struct argp *argp = command->argp;
    const char *doc = argp != NULL && argp->doc != NULL ? argp->doc : command->summary;
    size_t before =
        strcspn(doc, "\v"); /* argp's mark between what comes before and after options */
    struct buffer name = {0};
    status s = buffer_format(&name, "-%s", command->name);
    if (s == STATUS_OK) {
        s = append_head(out, name.data, command->summary);
    }
    buffer_destroy(&name);
    TRY(s);
    TRY(buffer_format(out, ".SH SYNOPSIS\n\\fBsluice %s\\fR", command->name));
    if (argp != NULL) {
        TRY(buffer_append_text(out, " [\\fIOPTION\\fR...] "));
        TRY(argp->args_doc != NULL ? append_text(out, argp->args_doc, strlen(argp->args_doc))
                                   : STATUS_OK);
    }
    TRY(buffer_append_text(out, "\n.SH DESCRIPTION\n"));
    TRY(append_text(out, doc, before));
    TRY(buffer_append_byte(out, '\n'));
    TRY(argp != NULL ? append_options(out, argp) : STATUS_OK);
    if (doc[before] != '\0') {
        TRY(buffer_append_text(out, ".SH NOTES\n"));
        TRY(append_line(out, doc + before + 1));
    }
    TRY(append_status(out));
    return buffer_append_text(out, ".SH SEE ALSO\n\\fBsluice\\fR(1), \\fBsluice\\-job\\fR(5), "
                                   "\\fBsluice\\-output\\fR(5)\n");
}

status manual_write_program(const struct manual_command *commands, size_t count, struct buffer *out)
{
    TRY(append_head(out, "", "run a language model over a data set of prompts"));
    TRY(buffer_append_text(out,
                           ".SH SYNOPSIS\n\\fBsluice\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n"
                           ".SH DESCRIPTION\nA job is one YAML file, "
                           "\\fBsluice\\-job\\fR(5); what it leaves is one HDF5 file, "
                           "\\fBsluice\\-output\\fR(5). Alone \\fBsluice run\\fR is one rank; "
                           "under mpirun or srun it is as many as they start.\n"
                           ".SH COMMANDS\n"));
    for (size_t i = 0; i < count; i++) {
        TRY(buffer_format(out, ".TP\n\\fBsluice\\-%s\\fR(1)\n", commands[i].name));
        TRY(append_line(out, commands[i].summary));
    }
    TRY(buffer_append_text(
        out, ".SH ENVIRONMENT\n.TP\n\\fBSLUICE_LOG\\fR\nwhich messages are printed: error, "
             "warning, info or debug\n.TP\n\\fBNO_COLOR\\fR\nno colours on a terminal\n"));
    TRY(append_status(out));
    return buffer_append_text(out, ".SH SEE ALSO\n\\fBsluice\\-job\\fR(5), "
                                   "\\fBsluice\\-output\\fR(5)\n");
}
