# A floor is a folder of src/ and stands only on those before it: linking a test against its floor alone proves it.
set(CLARKIA_FLOORS support data net engine loss noise spectrum trajectory dynamics tail command)

# Baseline is the compiler's (x86-64); hot loops are built for several instruction sets by target_clones.
add_library(clarkia_flags INTERFACE)
target_compile_options(clarkia_flags INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -fno-math-errno -fno-semantic-interposition)
if(CLARKIA_WERROR)
  target_compile_options(clarkia_flags INTERFACE -Werror)
endif()
if(CLARKIA_SANITIZE)
  target_compile_options(clarkia_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(clarkia_flags INTERFACE -fsanitize=address,undefined)
endif()
target_include_directories(clarkia_flags INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_link_libraries(clarkia_flags INTERFACE clarkia_dependencies)
include(ClarkiaRevision) # writes the git revision into generated/ whenever it changes

set(below "")
set(CLARKIA_OBJECTS "")
foreach(floor ${CLARKIA_FLOORS})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/${floor}/*.c)
  if(sources)
    add_library(ck_${floor} STATIC ${sources})
    set_target_properties(ck_${floor} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_include_directories(ck_${floor} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src/${floor})
    target_link_libraries(ck_${floor} PUBLIC ${below} clarkia_flags)
    list(APPEND CLARKIA_OBJECTS $<TARGET_OBJECTS:ck_${floor}>)
    set(below ck_${floor})
  endif()
endforeach()

add_dependencies(ck_support clarkia_revision)
include(ClarkiaOnnx) # adds the generated reader of ONNX files to the net floor

# The floors together, for other programs.
if(CLARKIA_OBJECTS)
  add_library(clarkia_library ${CLARKIA_OBJECTS})
  set_target_properties(clarkia_library PROPERTIES OUTPUT_NAME clarkia EXPORT_NAME clarkia LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_include_directories(clarkia_library INTERFACE $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:include>)
  target_link_libraries(clarkia_library PUBLIC clarkia_dependencies)
  if(CLARKIA_SANITIZE)
    target_link_options(clarkia_library PUBLIC -fsanitize=address,undefined)
  endif()
endif()

if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/src/main.c)
  add_executable(clarkia src/main.c)
  target_link_libraries(clarkia PRIVATE ${below})
endif()
