/* SPDX-License-Identifier: Apache-2.0 */
/* What a GPU says of itself before a backend is opened on it, the energy that it counts, and its
 * links to others.
 *
 * Energy and links come from the driver's management library, which is looked for at run time: it
 * need not be there. */
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

/* ---- Energy and links: NVML's entry points, as its reference manual declares them ---- */

struct nvml_device;

static struct {
    int (*initialize)(void);
    int (*find)(const char *address, struct nvml_device **device);
    int (*energy)(struct nvml_device *device, unsigned long long *millijoules);
    int (*peers)(struct nvml_device *a, struct nvml_device *b, int way, int *state);
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
    *(void **)&nvml.peers = find_symbol(library, "nvmlDeviceGetP2PStatus");
    nvml.works = nvml.initialize != NULL && nvml.find != NULL && nvml.energy != NULL &&
                 nvml.initialize() == 0;
}

status cuda_device_address(int device, char out[32])
{
    return cuda_check(cudaDeviceGetPCIBusId(out, 32, device), "find the GPU's address");
}

/* The library's handle of a device; NULL where there is none. */
static struct nvml_device *find_device(const char *address)
{
    static pthread_once_t opened = PTHREAD_ONCE_INIT;
    (void)pthread_once(&opened, open_nvml);
    struct nvml_device *found;
    return nvml.works && nvml.find(address, &found) == 0 ? found : NULL;
}

static struct nvml_device *find_own(int device)
{
    char address[32];
    return cuda_device_address(device, address) == STATUS_OK ? find_device(address) : NULL;
}

double cuda_device_energy(int device)
{
    unsigned long long millijoules;
    struct nvml_device *own = find_own(device);
    return own != NULL && nvml.energy(own, &millijoules) == 0 ? (double)millijoules * 1e-3 : NAN;
}

enum device_link cuda_device_link(int device, const char *address)
{
    enum {
        WAY_READ = 0,
        WAY_NVLINK = 2,
        WORKS = 0
    }; /* nvmlGpuP2PCapsIndex_t, nvmlGpuP2PStatus_t */
    struct nvml_device *own = find_own(device), *other = find_device(address);
    int state;
    if (own == NULL || other == NULL || own == other || nvml.peers == NULL) {
        return DEVICE_LINK_UNKNOWN;
    }
    if (nvml.peers(own, other, WAY_NVLINK, &state) == 0 && state == WORKS) {
        return DEVICE_LINK_DIRECT;
    }
    if (nvml.peers(own, other, WAY_READ, &state) != 0) {
        return DEVICE_LINK_UNKNOWN;
    }
    return state == WORKS ? DEVICE_LINK_BUS : DEVICE_LINK_HOST_MEMORY;
}
