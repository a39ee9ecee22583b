# cmocka for wasm, from Debian's source package that scripts/setup put into .cache/cmocka.
set(CMOCKA_SOURCE_DIR ${CMAKE_SOURCE_DIR}/.cache/cmocka CACHE PATH "cmocka's source")
if(NOT EXISTS ${CMOCKA_SOURCE_DIR}/src/cmocka.c)
  message(FATAL_ERROR "no cmocka source in ${CMOCKA_SOURCE_DIR}: run scripts/setup")
endif()
set(cmocka_config ${CMAKE_BINARY_DIR}/cmocka_config)
file(WRITE ${cmocka_config}/config.h "
#define HAVE_STDINT_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_STRINGS_H 1
#define HAVE_STRUCT_TIMESPEC 1
#define HAVE_MALLOC_H 1
#define HAVE_SIGNAL_H 1
#define HAVE_CLOCK_REALTIME 1
#define HAVE_SNPRINTF 1
#define HAVE_VSNPRINTF 1
#define HAVE_STRSIGNAL 1
#define HAVE_GCC_THREAD_LOCAL_STORAGE 1
#include <setjmp.h>
/* Emscripten's longjmp(env, 0) arrives as 0: make it 1, as C demands. */
#define longjmp(env, value) longjmp((env), (value) != 0 ? (value) : 1)
")
add_library(cmocka_lib STATIC ${CMOCKA_SOURCE_DIR}/src/cmocka.c)
target_include_directories(cmocka_lib SYSTEM PUBLIC ${CMOCKA_SOURCE_DIR}/include)
target_include_directories(cmocka_lib PRIVATE ${cmocka_config})
target_compile_definitions(cmocka_lib PRIVATE HAVE_CONFIG_H)
target_compile_definitions(cmocka_lib PUBLIC _UINTPTR_T=1 _UINTPTR_T_DEFINED=1)
target_compile_options(cmocka_lib PRIVATE -w)
set_target_properties(cmocka_lib PROPERTIES C_EXTENSIONS ON)
