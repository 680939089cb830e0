# SPDX-License-Identifier: Apache-2.0
# The CPU kernels: src/backend/cpu/kernels/*.c, compiled once per instruction set and chosen at run
# time (src/backend/cpu/cpu.c). -ffp-contract=off: which multiply-adds are fused is written in the
# source, never left to the compiler, so that v3 and v4 give the same bits.
file(GLOB SLUICE_CPU_KERNELS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backend/cpu/kernels/*.c)

function(sluice_add_cpu_kernels suffix)
  add_library(sluice_cpu_${suffix} OBJECT ${SLUICE_CPU_KERNELS})
  target_link_libraries(sluice_cpu_${suffix} PRIVATE sluice_flags)
  target_compile_definitions(sluice_cpu_${suffix} PRIVATE CPU_KERNEL_SUFFIX=${suffix})
  target_compile_options(sluice_cpu_${suffix} PRIVATE -O3 -ffp-contract=off
    $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed> ${ARGN})
  target_sources(sluice PRIVATE $<TARGET_OBJECTS:sluice_cpu_${suffix}>)
endfunction()

sluice_add_cpu_kernels(baseline)
# (No fuzz target runs a kernel, and with sanitizers they take long to compile.)
if(NOT SLUICE_FUZZ AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  sluice_add_cpu_kernels(v3 -march=x86-64-v3)
  sluice_add_cpu_kernels(v4 -march=x86-64-v4 -mprefer-vector-width=512)
  target_compile_definitions(sluice PUBLIC SLUICE_CPU_X86_KERNELS=1)
endif()
# The little arithmetic outside of the kernels, likewise.
set_property(SOURCE
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/experts.c
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/gated_delta.c
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/kv_cache.c
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/product.c
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/sample.c
  ${PROJECT_SOURCE_DIR}/src/backend/cpu/scan.c
  APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
