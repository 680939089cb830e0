/* The backends of this build, and what their types are called. */
#include "sluice/backend.h"

#include <string.h>

#include "backend/cpu/cpu.h"
#ifdef SLUICE_CUDA
/* All that is seen of src/backend/cuda/cuda.h, which needs the toolkit's headers. */
int cuda_device_count(void);
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

static const struct {
    const char *name;
    int (*device_count)(void);
    status (*create)(const struct backend_options *options, struct backend **out);
} backends[] = {
    {"cpu", cpu_device_count, cpu_backend_create},
#ifdef SLUICE_CUDA
    {"cuda", cuda_device_count, cuda_backend_create},
#endif
};

bool backend_is_built(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

int backend_device_count(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            return backends[i].device_count();
        }
    }
    return 0;
}

status backend_create(const char *name, const struct backend_options *options, struct backend **out)
{
    *out = NULL;
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            const int devices = backends[i].device_count();
            if (options->device < 0 || options->device >= devices) {
                return status_fail(STATUS_NOT_FOUND, "%s device %d: this host has %d", name,
                                   options->device, devices);
            }
            return backends[i].create(options, out);
        }
    }
    return status_fail(STATUS_UNSUPPORTED, "no backend \"%s\" in this build", name);
}
