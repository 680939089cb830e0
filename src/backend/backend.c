/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds of backends, and opening one of them. */
#include "sluice/backend.h"

#include <math.h>
#include <string.h>

#include "backend/kinds.h"

/* ---- Kinds ---- */

static const struct backend_kind *const kinds[] = {&cpu_kind, &cuda_kind};

const struct backend_kind *backend_kind_at(size_t index)
{
    return index < COUNT_OF(kinds) ? kinds[index] : NULL;
}

const struct backend_kind *backend_kind_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

const struct backend_kind *backend_kind_host(void)
{
    return &cpu_kind;
}

bool backend_kind_is_built(const struct backend_kind *kind)
{
    return kind->create != NULL;
}

int backend_kind_device_count(const struct backend_kind *kind)
{
    return backend_kind_is_built(kind) ? kind->device_count() : 0;
}

enum device_link backend_kind_link(const struct backend_kind *kind, int device, const char *address)
{
    return kind->device_link != NULL && address[0] != '\0' ? kind->device_link(device, address)
                                                           : DEVICE_LINK_UNKNOWN;
}

const char *backend_link_text(enum device_link link)
{
    static const char *const texts[] = {
        [DEVICE_LINK_UNKNOWN] = "",
        [DEVICE_LINK_HOST_MEMORY] = ", through the host's memory",
        [DEVICE_LINK_BUS] = ", over PCI Express",
        [DEVICE_LINK_DIRECT] = ", over NVLink",
    };
    return texts[link];
}

/* ---- By name ---- */

bool backend_is_built(const char *name)
{
    const struct backend_kind *kind = backend_kind_find(name);
    return kind != NULL && backend_kind_is_built(kind);
}

int backend_device_count(const char *name)
{
    const struct backend_kind *kind = backend_kind_find(name);
    return kind != NULL ? backend_kind_device_count(kind) : 0;
}

/* The kind, where it is built in and has such a device. */
static status find_device(const char *name, int device, const struct backend_kind **out)
{
    *out = backend_kind_find(name);
    if (!backend_is_built(name)) {
        return status_fail(STATUS_UNSUPPORTED, "no backend \"%s\" in this build", name);
    }
    const int devices = (*out)->device_count();
    return device >= 0 && device < devices
               ? STATUS_OK
               : status_fail(STATUS_NOT_FOUND, "%s device %d: this host has %d", name, device,
                             devices);
}

status backend_device_facts(const char *name, int device, struct device_facts *out)
{
    const struct backend_kind *kind;
    TRY(find_device(name, device, &kind));
    return kind->device_facts(device, out);
}

double backend_device_energy(const char *name, int device)
{
    return backend_is_built(name) && device >= 0 ? backend_kind_find(name)->device_energy(device)
                                                 : NAN;
}

status backend_create(const char *name, const struct backend_options *options, struct backend **out)
{
    *out = NULL;
    const struct backend_kind *kind;
    TRY(find_device(name, options->device, &kind));
    return kind->create(options, out);
}
