# SPDX-License-Identifier: Apache-2.0
# The CUDA backend: host files in C, kernels in CUDA C, cuBLASLt and NCCL. Included where SLUICE_CUDA is on.
#   SLUICE_CUDA_ARCHITECTURES  what the kernels are compiled for; default: all of sm_80, sm_89, sm_90a, sm_100 that nvcc knows
if(NOT SLUICE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${CUDAToolkit_NVCC_EXECUTABLE} --list-gpu-arch OUTPUT_VARIABLE known_architectures)
  set(SLUICE_CUDA_ARCHITECTURES 80-real 89-real 90a-real)
  if(known_architectures MATCHES "compute_100")
    list(APPEND SLUICE_CUDA_ARCHITECTURES 100)
  endif()
endif()
set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
set(CMAKE_CUDA_ARCHITECTURES ${SLUICE_CUDA_ARCHITECTURES})
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)

file(GLOB SLUICE_CUDA_SOURCES CONFIGURE_DEPENDS
  src/backend/cuda/*.c src/backend/cuda/kernels/*.cu src/backend/cuda/kernels/*/*.cu src/comm/nccl/*.c src/comm/nccl/*.cu)
target_sources(sluice PRIVATE ${SLUICE_CUDA_SOURCES})
set_target_properties(sluice PROPERTIES CUDA_ARCHITECTURES "${SLUICE_CUDA_ARCHITECTURES}" CUDA_STANDARD 17)
target_compile_definitions(sluice_flags INTERFACE SLUICE_CUDA=1)
if(SLUICE_CUDA_ARCHITECTURES MATCHES "90a")
  target_compile_definitions(sluice PRIVATE SLUICE_CUDA_SM90A=1) # kernels of warpgroups are there
endif()
target_include_directories(sluice SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE})
target_link_libraries(sluice PRIVATE CUDA::cudart CUDA::cublasLt ${NCCL_LIBRARY})
# Sampling's floats have the CPU's bits: no multiply-adds that the source does not write (as in cpu_kernels.cmake).
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/backend/cuda/kernels/sample_launch.cu APPEND PROPERTY COMPILE_OPTIONS -fmad=false)
