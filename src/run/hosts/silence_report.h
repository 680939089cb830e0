/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of silent hosts. */
#ifndef SLUICE_RUN_SILENCE_REPORT_H
#define SLUICE_RUN_SILENCE_REPORT_H

#include "run/hosts/host_table.h"
#include "run/hosts/silence.h"

struct silence_report {
    const struct host_table *table;
    const struct silence *silences; /* [table->count] */
    int own_host;
    bool is_first_rank; /* of its host */
};

/* Whether this rank is the one to speak: the first rank of the first host that is heard. */
bool silence_speaks(const struct silence_report *report);
/* One line for an event of a host; nothing for SILENCE_NOTHING and SILENCE_END. */
void silence_say(const struct silence_report *report, int host, enum silence_event event,
                 const struct silence_limits *limits);
/* The last line, and the names of the silent hosts in the file that the environment variable
 * SLUICE_SILENT_HOSTS names, one a line, where they are not more than those that are left. */
void silence_say_end(const struct silence_report *report);

#endif
