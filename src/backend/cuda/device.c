/* SPDX-License-Identifier: Apache-2.0 */
/* What a GPU says of itself before a backend is opened on it, and the energy that it counts.
 *
 * Energy comes from the driver's management library, which is looked for at run time: it need not
 * be there. */
#include "backend/cuda/cuda.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

int cuda_device_count(void)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return count;
}

status cuda_device_facts(int device, struct device_facts *out)
{
    struct cudaDeviceProp properties;
    size_t available, total;
    *out = (struct device_facts){0};
    TRY(cuda_check(cudaSetDevice(device), "open the GPU"));
    TRY(cuda_check(cudaGetDeviceProperties(&properties, device), "open the GPU"));
    TRY(cuda_check(cudaDeviceGetPCIBusId(out->address, sizeof out->address, device),
                   "open the GPU"));
    TRY(cuda_check(cudaMemGetInfo(&available, &total), "GPU memory"));
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, properties.name);
    snprintf(out->arithmetic, sizeof out->arithmetic, "%s, compute capability %d.%d, cuBLASLt %zu",
             out->name, properties.major, properties.minor, cublasLtGetVersion());
    out->capability = 10 * properties.major + properties.minor;
    out->total_bytes = (int64_t)total;
    out->free_bytes = (int64_t)available;
    return STATUS_OK;
}

/* As the libraries are loaded, which may be newer than what the program was built with. */
void cuda_runtime_version(char *out, size_t size)
{
    int version = 0;
    (void)cudaRuntimeGetVersion(&version);
    snprintf(out, size, "%d.%d", version / 1000, version % 1000 / 10);
}

void cuda_cublaslt_version(char *out, size_t size)
{
    const size_t version = cublasLtGetVersion();
    snprintf(out, size, "%zu.%zu.%zu", version / 10000, version % 10000 / 100, version % 100);
}

/* ---- Energy: NVML's entry points, as its reference manual declares them ---- */

struct nvml_device;

static struct {
    int (*initialize)(void);
    int (*find)(const char *address, struct nvml_device **device);
    int (*energy)(struct nvml_device *device, unsigned long long *millijoules);
    bool works;
} nvml;

static void *find_symbol(void *library, const char *name)
{
    return library != NULL ? dlsym(library, name) : NULL;
}

/* The library stays open to the process's end. */
static void open_nvml(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    *(void **)&nvml.initialize = find_symbol(library, "nvmlInit_v2");
    *(void **)&nvml.find = find_symbol(library, "nvmlDeviceGetHandleByPciBusId_v2");
    *(void **)&nvml.energy = find_symbol(library, "nvmlDeviceGetTotalEnergyConsumption");
    nvml.works = nvml.initialize != NULL && nvml.find != NULL && nvml.energy != NULL &&
                 nvml.initialize() == 0;
}

double cuda_device_energy(int device)
{
    static pthread_once_t opened = PTHREAD_ONCE_INIT;
    (void)pthread_once(&opened, open_nvml);
    char address[32];
    struct nvml_device *found;
    unsigned long long millijoules;
    if (!nvml.works ||
        cuda_check(cudaDeviceGetPCIBusId(address, sizeof address, device), "energy") != STATUS_OK ||
        nvml.find(address, &found) != 0 || nvml.energy(found, &millijoules) != 0) {
        return NAN;
    }
    return (double)millijoules * 1e-3;
}
