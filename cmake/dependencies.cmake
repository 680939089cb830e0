# SPDX-License-Identifier: Apache-2.0
# What sluice is built from, and what distributions call it. A missing dependency's message names its package; the table in
# docs/install.md is printed from here:  cmake -P cmake/dependencies.cmake

set(SLUICE_DISTRIBUTIONS "Debian, Ubuntu" "Fedora, RHEL" "conda-forge" "Spack")
# What | the packages, in the order of the distributions above | what for
set(SLUICE_DEPENDENCIES
  "C compiler|build-essential|gcc|c-compiler|gcc|all"
  "CMake|cmake|cmake|cmake|cmake|all"
  "Ninja|ninja-build|ninja-build|ninja|ninja|all"
  "pkg-config|pkg-config|pkgconf-pkg-config|pkg-config|pkgconf|all"
  "OpenMP|build-essential|libgomp|c-compiler|gcc|all"
  "MPI|libopenmpi-dev openmpi-bin|openmpi-devel|openmpi|openmpi|all"
  "HDF5|libhdf5-dev|hdf5-devel|hdf5|hdf5|all"
  "zlib|zlib1g-dev|zlib-devel|zlib|zlib|all"
  "utf8proc|libutf8proc-dev|utf8proc-devel|libutf8proc|utf8proc|all"
  "libyaml|libyaml-dev|libyaml-devel|yaml|libyaml|all"
  "Zstandard|libzstd-dev|libzstd-devel|zstd|zstd|all"
  "YAJL|libyajl-dev|yajl-devel|yajl|yajl|all"
  "xxHash|libxxhash-dev|xxhash-devel|xxhash|xxhash|all"
  "OpenSSL|libssl-dev|openssl-devel|openssl|openssl|all"
  "CUDA 12.4|cuda-toolkit, NVIDIA's own|cuda-toolkit, NVIDIA's own|cuda-nvcc cuda-cudart-dev libcublas-dev|cuda|GPUs"
  "NCCL|libnccl-dev, NVIDIA's own|libnccl-devel, NVIDIA's own|nccl|nccl|GPUs"
  "cmocka|libcmocka-dev|libcmocka-devel|cmocka|cmocka|tests")

# The column of this machine's distribution, or -1: 0 is the first of SLUICE_DISTRIBUTIONS.
function(sluice_distribution out)
  cmake_host_system_information(RESULT release QUERY DISTRIB_INFO)
  set(names " ${release_ID} ${release_ID_LIKE} ")
  set(${out} -1 PARENT_SCOPE)
  if(names MATCHES " (debian|ubuntu) ")
    set(${out} 0 PARENT_SCOPE)
  elseif(names MATCHES " (fedora|rhel|centos) ")
    set(${out} 1 PARENT_SCOPE)
  endif()
endfunction()

# sluice_missing(WHAT): says so, with its packages; sluice_stop_if_missing then ends the configuration, so that
# all that is missing is named at once.
function(sluice_missing what)
  set_property(GLOBAL APPEND PROPERTY SLUICE_MISSING ${what})
endfunction()

function(sluice_stop_if_missing)
  get_property(missing GLOBAL PROPERTY SLUICE_MISSING)
  if(NOT missing)
    return()
  endif()
  sluice_distribution(here)
  set(lines "")
  set(install "")
  foreach(dependency IN LISTS SLUICE_DEPENDENCIES)
    string(REPLACE "|" ";" fields "${dependency}")
    list(POP_FRONT fields what)
    if(NOT what IN_LIST missing)
      continue()
    endif()
    set(packages "")
    foreach(distribution package IN ZIP_LISTS SLUICE_DISTRIBUTIONS fields)
      if(distribution)
        list(APPEND packages "${package} (${distribution})")
      endif()
    endforeach()
    list(JOIN packages "; " packages)
    string(APPEND lines "\n  ${what}: ${packages}")
    if(here GREATER_EQUAL 0)
      list(GET fields ${here} package)
      string(REPLACE ", NVIDIA's own" "" package "${package}")
      string(APPEND install " ${package}")
    endif()
  endforeach()
  if(here EQUAL 0)
    string(APPEND lines "\nOn this machine:\n  apt-get install${install}")
  elseif(here EQUAL 1)
    string(APPEND lines "\nOn this machine:\n  dnf install${install}")
  endif()
  message(FATAL_ERROR "sluice needs what is not here, or not where CMake looks:${lines}\n"
    "docs/install.md says how to build without root.")
endfunction()

# sluice_find(WHAT ARGUMENT…): find_package with these arguments.
macro(sluice_find what)
  find_package(${ARGN})
  if(NOT ${ARGV1}_FOUND)
    sluice_missing("${what}")
  endif()
endmacro()

# sluice_find_module(WHAT TARGET MODULE): a module of pkg-config's, as PkgConfig::TARGET.
macro(sluice_find_module what target module)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(${target} IMPORTED_TARGET ${module})
  endif()
  if(NOT ${target}_FOUND)
    sluice_missing("${what}")
  endif()
endmacro()

# The table of docs/install.md.
function(sluice_print_dependencies)
  list(JOIN SLUICE_DISTRIBUTIONS " | " heading)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "| | ${heading} | for |\n| --- | --- | --- | --- | --- | --- |")
  foreach(dependency IN LISTS SLUICE_DEPENDENCIES)
    string(REGEX REPLACE "\\|" " | " row "${dependency}")
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo "| ${row} |")
  endforeach()
endfunction()
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  sluice_print_dependencies()
endif()
