/* SPDX-License-Identifier: Apache-2.0 */
/* Formats that are known and not read, as a table of first bytes. */
#include "data/input/foreign_format.h"

#include <string.h>

#define TO_LINES  "write JSON lines of it"
#define BY_PANDAS TO_LINES ", for example with pandas: to_json(…, orient=\"records\", lines=True)"
#define UNPACKED  "unpack it, or write .gz or .zst: "

static const struct {
    size_t offset;
    const char *magic;
    size_t length;
    const char *what, *remedy;
} formats[] = {
    {0, "PAR1", 4, "a Parquet file", BY_PANDAS},
    {0, "PARE", 4, "an encrypted Parquet file", BY_PANDAS},
    {0, "ARROW1", 6, "an Arrow (Feather) file", BY_PANDAS},
    {0, "\xFF\xFF\xFF\xFF", 4, "an Arrow stream", BY_PANDAS},
    {0, "FEA1\0", 5, "a Feather file", BY_PANDAS},
    {0, "ORC\x08", 4, "an ORC file", BY_PANDAS},
    {0, "ORC\x0A", 4, "an ORC file", BY_PANDAS},
    {0, "Obj\x01", 4, "an Avro file", TO_LINES},
    {0, "SQLite format 3", 16, "an SQLite database",
     TO_LINES ": sqlite3 -json FILE 'select …' | jq -c '.[]'"},
    {0, "\x93NUMPY", 6, "a NumPy file", TO_LINES},
    {0, "\x80\x02", 2, "a Python pickle", TO_LINES},
    {0, "\x80\x03", 2, "a Python pickle", TO_LINES},
    {0, "\x80\x04\x95", 3, "a Python pickle", TO_LINES},
    {0, "\x80\x05\x95", 3, "a Python pickle", TO_LINES},
    {0,
     "\xFD"
     "7zXZ\0",
     6, "compressed with xz", UNPACKED "xz -d FILE"},
    {0, "\x5D\0\0", 3, "compressed with lzma", UNPACKED "xz -d FILE"},
    {0, "BZh", 3, "compressed with bzip2", UNPACKED "bzip2 -d FILE"},
    {0, "\x04\x22\x4D\x18", 4, "compressed with lz4", UNPACKED "lz4 -d FILE"},
    {0, "\x02\x21\x4C\x18", 4, "compressed with lz4", UNPACKED "lz4 -d FILE"},
    {0, "\xFF\x06\0\0sNaPpY", 10, "compressed with snappy", "unpack it, or write .gz or .zst"},
    {0, "\x89LZO", 4, "compressed with lzop", UNPACKED "lzop -d FILE"},
    {0, "\x1F\x9D", 2, "compressed with compress", UNPACKED "gzip -d FILE"},
    {0, "PK\x03\x04", 4, "a zip archive (or an Excel file)", "unpack it; Excel saves as CSV"},
    {0, "PK\x05\x06", 4, "an empty zip archive", "unpack what was meant"},
    {0, "7z\xBC\xAF\x27\x1C", 6, "a 7z archive", "unpack it"},
    {0, "Rar!\x1A\x07", 6, "a RAR archive", "unpack it"},
    {257, "ustar", 5, "a tar archive", "unpack it; data.input takes several files"},
    {0, "\xD0\xCF\x11\xE0", 4, "an old Excel or Word file", "save it as CSV"},
    {0, "%PDF-", 5, "a PDF file", TO_LINES},
    {0, "GGUF", 4, "a GGUF model", "model.path is where it belongs"},
    {0, "version https://git-lfs", 23, "a Git LFS pointer, not the data", "fetch it: git lfs pull"},
    {0, "<!DOCTYPE", 9, "an HTML page", "download the file itself"},
    {0, "<!doctype", 9, "an HTML page", "download the file itself"},
    {0, "<html", 5, "an HTML page", "download the file itself"},
    {0, "<?xml", 5, "an XML file", TO_LINES},
};

/* Old forms of zstd, 0.4 to 0.7, differ in one byte. */
static bool is_old_zstd(const unsigned char *bytes, size_t length)
{
    return length >= 4 && bytes[0] >= 0x24 && bytes[0] <= 0x27 && bytes[1] == 0xB5 &&
           bytes[2] == 0x2F && bytes[3] == 0xFD;
}

status foreign_format_refuse(const void *bytes, size_t length)
{
    const unsigned char *start = bytes;
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        size_t end = formats[i].offset + formats[i].length;
        if (length >= end &&
            memcmp(start + formats[i].offset, formats[i].magic, formats[i].length) == 0) {
            return status_fail(STATUS_UNSUPPORTED,
                               "is %s; %s (read are JSON lines, CSV and TSV, plain, .gz or .zst, "
                               "and HDF5)",
                               formats[i].what, formats[i].remedy);
        }
    }
    if (is_old_zstd(start, length)) {
        return status_fail(STATUS_UNSUPPORTED,
                           "is compressed with a zstd from before 0.8; write it anew: zstd -d");
    }
    const char *encoding = utf8_other_encoding(bytes, length);
    if (encoding != NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "is %s text; write it as UTF-8: iconv -f %s -t UTF-8 FILE", encoding,
                           encoding);
    }
    return STATUS_OK;
}
