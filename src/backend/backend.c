/* SPDX-License-Identifier: Apache-2.0 */
/* The backends of this build, and what their types are called. */
#include "sluice/backend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#ifdef SLUICE_CUDA
/* All that is seen of src/backend/cuda/cuda.h, which needs the toolkit's headers. */
int cuda_device_count(void);
status cuda_device_facts(int device, struct device_facts *out);
double cuda_device_energy(int device);
status cuda_backend_create(const struct backend_options *options, struct backend **out);
#endif

size_t dtype_bytes(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return 4;
    case DTYPE_BFLOAT16:
    case DTYPE_FLOAT16:
        return 2;
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return 1;
}

const char *dtype_name(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return "float32";
    case DTYPE_BFLOAT16:
        return "bfloat16";
    case DTYPE_FLOAT16:
        return "float16";
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return "fp8";
}

static int cpu_device_count(void)
{
    return 1;
}

static status cpu_device_facts(int device, struct device_facts *out)
{
    (void)device;
    *out = (struct device_facts){0};
    snprintf(out->name, sizeof out->name, "host processors");
    snprintf(out->arithmetic, sizeof out->arithmetic, "%s", cpu_arithmetic());
    return STATUS_OK;
}

static double cpu_device_energy(int device)
{
    (void)device;
    return NAN;
}

static const struct backend_kind {
    const char *name;
    int (*device_count)(void);
    status (*device_facts)(int device, struct device_facts *out);
    double (*device_energy)(int device);
    status (*create)(const struct backend_options *options, struct backend **out);
} backends[] = {
    {"cpu", cpu_device_count, cpu_device_facts, cpu_device_energy, cpu_backend_create},
#ifdef SLUICE_CUDA
    {"cuda", cuda_device_count, cuda_device_facts, cuda_device_energy, cuda_backend_create},
#endif
};

static const struct backend_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            return &backends[i];
        }
    }
    return NULL;
}

bool backend_is_built(const char *name)
{
    return find_kind(name) != NULL;
}

int backend_device_count(const char *name)
{
    const struct backend_kind *kind = find_kind(name);
    return kind != NULL ? kind->device_count() : 0;
}

/* The kind, where it is built in and has such a device. */
static status find_device(const char *name, int device, const struct backend_kind **out)
{
    *out = find_kind(name);
    if (*out == NULL) {
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
    const struct backend_kind *kind = find_kind(name);
    return kind != NULL && device >= 0 ? kind->device_energy(device) : NAN;
}

status backend_create(const char *name, const struct backend_options *options, struct backend **out)
{
    *out = NULL;
    const struct backend_kind *kind;
    TRY(find_device(name, options->device, &kind));
    return kind->create(options, out);
}
