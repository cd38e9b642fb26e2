# Writes generated/clarkia/revision.h with the git revision of the source, at every build and only when it has changed.
# As a script: cmake -DSOURCE=.. -DOUTPUT=.. -P ClarkiaRevision.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  set(revision unknown)
  find_program(GIT git)
  if(GIT AND EXISTS ${SOURCE}/.git)
    execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --abbrev=12 --dirty --exclude=*
      OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      set(revision ${described})
    endif()
  endif()
  set(text "#pragma once\n#define CK_REVISION \"${revision}\"\n")
  set(old "")
  if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} old)
  endif()
  if(NOT text STREQUAL old)
    file(WRITE ${OUTPUT} "${text}")
  endif()
  return()
endif()

set(CLARKIA_REVISION_HEADER ${CMAKE_CURRENT_BINARY_DIR}/generated/clarkia/revision.h)
add_custom_target(clarkia_revision
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DOUTPUT=${CLARKIA_REVISION_HEADER}
    -P ${CMAKE_CURRENT_LIST_DIR}/ClarkiaRevision.cmake
  BYPRODUCTS ${CLARKIA_REVISION_HEADER} COMMENT "git revision" VERBATIM)
