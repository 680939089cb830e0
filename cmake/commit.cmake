# SPDX-License-Identifier: Apache-2.0
# The commit that a build is of, as a header; run by every build, so that it is right after later commits, too. The header is left
# as it is where nothing has changed. Given: SOURCE, the root of the repository; HEADER, the file.
set(commit "unknown") # not a clone, or there is no git
execute_process(COMMAND git -C ${SOURCE} rev-parse --show-prefix
  OUTPUT_VARIABLE prefix RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
# A tarball's folder may lie in somebody's own repository: that one's commit says nothing.
if(failed STREQUAL "0" AND prefix STREQUAL "")
  execute_process(COMMAND git --no-optional-locks -C ${SOURCE} describe --always --abbrev=12 --exclude=* --dirty=-changed
    OUTPUT_VARIABLE described RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed STREQUAL "0")
    set(commit "${described}")
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define SLUICE_COMMIT \"${commit}\"\n")
