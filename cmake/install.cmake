# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` and `cpack` put where: program, library with headers, pkg-config and CMake files, manual pages and completions (made
# by the program from its own tables, and from two pages of docs/), Slurm scripts, example jobs, pages.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS sluice_program RUNTIME)
install(TARGETS sluice ARCHIVE)
install(DIRECTORY include/sluice DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# ---- For those who link against it ----

set(SLUICE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/sluice)
configure_package_config_file(cmake/sluiceConfig.cmake.in ${PROJECT_BINARY_DIR}/sluiceConfig.cmake INSTALL_DESTINATION ${SLUICE_PACKAGE_DIR}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sluiceConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sluiceConfig.cmake ${PROJECT_BINARY_DIR}/sluiceConfigVersion.cmake DESTINATION ${SLUICE_PACKAGE_DIR})
set(SLUICE_PC_LIBRARIES "")
foreach(library IN LISTS HDF5_C_LIBRARIES MPI_C_LIBRARIES OpenMP_C_LIBRARIES)
  string(APPEND SLUICE_PC_LIBRARIES " ${library}")
endforeach()
set(SLUICE_PC_CFLAGS "")
foreach(folder IN LISTS HDF5_C_INCLUDE_DIRS MPI_C_INCLUDE_DIRS)
  string(APPEND SLUICE_PC_CFLAGS " -isystem ${folder}")
endforeach()
if(SLUICE_CUDA)
  string(APPEND SLUICE_PC_LIBRARIES " -L${CUDAToolkit_LIBRARY_DIR} -lcudart -lcublasLt ${NCCL_LIBRARY} -lstdc++")
endif()
file(RELATIVE_PATH SLUICE_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix) # wherever it is installed
configure_file(cmake/sluice.pc.in ${PROJECT_BINARY_DIR}/sluice.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sluice.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ---- Manual pages and completions ----

find_program(SLUICE_AWK NAMES awk mawk gawk REQUIRED)
set(SLUICE_MANUAL ${PROJECT_BINARY_DIR}/manual)
add_custom_command(OUTPUT ${SLUICE_MANUAL}/made
  COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:sluice_program> -DFOLDER=${SLUICE_MANUAL} -DSOURCE=${PROJECT_SOURCE_DIR} -DAWK=${SLUICE_AWK}
    -DVERSION=${PROJECT_VERSION} -DDATE=${SLUICE_DATE} -P ${PROJECT_SOURCE_DIR}/cmake/manual.cmake
  DEPENDS sluice_program cmake/manual.cmake cmake/markdown_man.awk docs/job-file.md docs/output-format.md VERBATIM)
add_custom_target(sluice_manual ALL DEPENDS ${SLUICE_MANUAL}/made)
install(DIRECTORY ${SLUICE_MANUAL}/man1 ${SLUICE_MANUAL}/man5 DESTINATION ${CMAKE_INSTALL_MANDIR})
install(FILES ${SLUICE_MANUAL}/sluice.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME sluice)
install(FILES ${SLUICE_MANUAL}/sluice.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _sluice)
install(FILES ${SLUICE_MANUAL}/sluice.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# ---- To read and to begin from ----

install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN records EXCLUDE)
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples jobs DESTINATION ${CMAKE_INSTALL_DATADIR}/sluice)
install(DIRECTORY slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/sluice USE_SOURCE_PERMISSIONS)

# ---- Packages: cpack -G DEB, TGZ ----

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME sluice)
set(CPACK_PACKAGE_VENDOR "the sluice project")
set(CPACK_PACKAGE_CONTACT "the sluice project <sluice@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Run a language model over a data set of prompts, over MPI")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # names the libraries' packages; needs dpkg-dev
set(CPACK_DEBIAN_PACKAGE_DEPENDS openmpi-bin)
set(CPACK_DEBIAN_PACKAGE_NAME sluice)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "It takes prompts as JSON lines, CSV or HDF5, spreads them over the
ranks of an MPI job, under Slurm or mpirun, and writes one HDF5 file.
A job that was stopped goes on where it was. Models are local
directories as they are published.")
if(SLUICE_CUDA)
  set(CPACK_DEBIAN_PACKAGE_NAME sluice-cuda)
  set(CPACK_DEBIAN_PACKAGE_CONFLICTS sluice)
  # By the names of NVIDIA's repository. Not required: the toolkit may have been installed without packages.
  set(cuda_packages ${CUDAToolkit_VERSION_MAJOR}-${CUDAToolkit_VERSION_MINOR})
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "cuda-cudart-${cuda_packages}, libcublas-${cuda_packages}, libnccl2")
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${CPACK_DEBIAN_PACKAGE_NAME} RENAME copyright)
include(CPack)
