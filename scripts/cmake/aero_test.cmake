# aero_test(e1000.tx SOURCES tx_test.c LIBS nic_e1000 [NATIVE_ONLY])
#   A cmocka program. ctest knows it as native.e1000.tx and, built by the wasm tree and run under
#   Node, as wasm.e1000.tx. Sources are relative to the calling folder.
# aero_js_test(ring glue/ring.test.js)
#   node --test; ctest knows it as js.ring.
find_program(AERO_NODE node REQUIRED)

# Where programs run, vectors are found by this path.
set(AERO_VECTORS_DIR ${CMAKE_SOURCE_DIR}/tests/vectors)

function(aero_test name)
  cmake_parse_arguments(ARG "NATIVE_ONLY" "" "SOURCES;LIBS" ${ARGN})
  if(EMSCRIPTEN AND ARG_NATIVE_ONLY)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} test_support warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(EMSCRIPTEN)
    set_target_properties(${name} PROPERTIES SUFFIX .js)
    return()
  endif()
  add_test(NAME native.${name} COMMAND ${name})
  set_tests_properties(native.${name} PROPERTIES TIMEOUT 120 LABELS native)
  if(AERO_WASM AND NOT ARG_NATIVE_ONLY AND NOT SANITIZE AND NOT FUZZ)
    add_test(NAME wasm.${name}
             COMMAND ${AERO_NODE} --no-experimental-fetch
                     ${CMAKE_BINARY_DIR}/wasm/tests/${name}.js)
    set_tests_properties(wasm.${name} PROPERTIES TIMEOUT 120 LABELS wasm)
  endif()
endfunction()

function(aero_js_test name file)
  if(EMSCRIPTEN OR NOT AERO_WASM OR SANITIZE OR FUZZ)
    return()
  endif()
  add_test(NAME js.${name} COMMAND ${AERO_NODE} --test ${CMAKE_SOURCE_DIR}/tests/${file})
  set_tests_properties(js.${name} PROPERTIES TIMEOUT 120 LABELS js
    ENVIRONMENT "AERO_BUILD_DIR=${CMAKE_BINARY_DIR}")
endfunction()
