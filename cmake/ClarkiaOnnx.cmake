# generated/onnx.pb-c.h and .c from onnx.proto, part of the net floor.
set(CLARKIA_ONNX ${CMAKE_CURRENT_BINARY_DIR}/generated/onnx.pb-c)
get_filename_component(folder ${ONNX_PROTO} DIRECTORY)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${CLARKIA_ONNX}.h ${CLARKIA_ONNX}.c DEPENDS ${ONNX_PROTO}
  COMMAND ${PROTOC_C} --c_out=${CMAKE_CURRENT_BINARY_DIR}/generated --proto_path=${folder} ${ONNX_PROTO}
  COMMENT "onnx.pb-c from ${ONNX_PROTO}" VERBATIM)
set_source_files_properties(${CLARKIA_ONNX}.c PROPERTIES COMPILE_OPTIONS -w)
target_sources(ck_net PRIVATE ${CLARKIA_ONNX}.c ${CLARKIA_ONNX}.h)
