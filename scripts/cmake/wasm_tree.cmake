# Builds build/wasm: the same CMakeLists under Debian's Emscripten. Traps: shared toolchain notes in
# docs/toolchain.md.
include(ExternalProject)
find_program(EMCC emcc)
if(NOT EMCC)
  message(FATAL_ERROR "emcc not found: run scripts/setup, or configure with -DAERO_WASM=OFF")
endif()
set(EMSCRIPTEN_TOOLCHAIN /usr/share/emscripten/cmake/Modules/Platform/Emscripten.cmake CACHE
    FILEPATH "Emscripten's CMake toolchain file")

ExternalProject_Add(wasm_tree
  SOURCE_DIR ${CMAKE_SOURCE_DIR}
  BINARY_DIR ${CMAKE_BINARY_DIR}/wasm
  CMAKE_ARGS -DCMAKE_TOOLCHAIN_FILE=${EMSCRIPTEN_TOOLCHAIN}
             -DCMAKE_CROSSCOMPILING_EMULATOR=${AERO_NODE} -DCMAKE_BUILD_TYPE=Release
             -DAERO_WASM=OFF
             # emcc's JavaScript optimiser asks Node for acorn, which Debian keeps here
             "-DCMAKE_C_LINKER_LAUNCHER=${CMAKE_COMMAND}|-E|env|NODE_PATH=/usr/share/nodejs"
  LIST_SEPARATOR |
  INSTALL_COMMAND ""
  BUILD_ALWAYS ON
  USES_TERMINAL_BUILD ON)
