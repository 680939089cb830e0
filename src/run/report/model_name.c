/* SPDX-License-Identifier: Apache-2.0 */
/* Names of models, compared as people write them. */
#include "run/report/model_name.h"

#include <ctype.h>
#include <string.h>

struct name_part {
    const char *text;
    size_t length;
};

static bool is_separator(char c)
{
    return c == '-' || c == '_' || c == '.' || c == ' ' || c == ':' || c == '@';
}

/* The part behind the last slash, without what stands for a file's kind. */
static struct name_part last_part(struct name_part path)
{
    static const char kind[] = ".gguf";
    const size_t kind_length = sizeof kind - 1;
    while (path.length > 0 && path.text[path.length - 1] == '/') {
        path.length--;
    }
    const char *slash = memrchr(path.text, '/', path.length);
    if (slash != NULL) {
        path.length -= (size_t)(slash + 1 - path.text);
        path.text = slash + 1;
    }
    if (path.length > kind_length &&
        strncasecmp(path.text + path.length - kind_length, kind, kind_length) == 0) {
        path.length -= kind_length;
    }
    return path;
}

/* Whether `whole` is this name, or begins with it and goes on behind a separator. */
static bool begins_with(struct name_part whole, struct name_part name)
{
    if (name.length == 0 || name.length > whole.length) {
        return false;
    }
    for (size_t i = 0; i < name.length; i++) {
        char a = whole.text[i], b = name.text[i];
        if (tolower((unsigned char)a) != tolower((unsigned char)b) &&
            !(is_separator(a) && is_separator(b))) {
            return false;
        }
    }
    return name.length == whole.length || is_separator(whole.text[name.length]);
}

/* A folder of the Hugging Face cache, …/models--ORG--NAME/snapshots/HASH: NAME. */
static struct name_part cached_name(const char *path)
{
    static const char before[] = "models--";
    const char *folder = strstr(path, before);
    if (folder == NULL || (folder > path && folder[-1] != '/')) {
        return (struct name_part){"", 0};
    }
    folder += sizeof before - 1;
    struct name_part name = {folder, strcspn(folder, "/")};
    const char *organisation = memmem(name.text, name.length, "--", 2);
    if (organisation != NULL) {
        name.length -= (size_t)(organisation + 2 - name.text);
        name.text = organisation + 2;
    }
    return name;
}

bool model_goes_by(const char *path, const char *name)
{
    const struct name_part asked = last_part((struct name_part){name, strlen(name)});
    return strcmp(path, name) == 0 ||
           begins_with(last_part((struct name_part){path, strlen(path)}), asked) ||
           begins_with(cached_name(path), asked);
}
