# Compiler settings every target shares, and the two functions that declare targets.

add_library(xenolith_settings INTERFACE)
target_include_directories(xenolith_settings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_features(xenolith_settings INTERFACE cxx_std_20)
# Built-in guests are assembler files: only C++ sees the warnings.
set(xenolith_warnings
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wimplicit-fallthrough)
if(XENOLITH_WARNINGS_AS_ERRORS)
  list(APPEND xenolith_warnings -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 reports impossible paths of inlined library code with this one.
  list(APPEND xenolith_warnings -Wno-restrict)
endif()
if(XENOLITH_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Instrumented code hides initialisation from gcc: it then warns of the standard library's own.
  list(APPEND xenolith_warnings -Wno-maybe-uninitialized)
endif()
target_compile_options(xenolith_settings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${xenolith_warnings}>)
if(XENOLITH_SANITIZE)
  target_compile_options(xenolith_settings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined;-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
  target_link_options(xenolith_settings INTERFACE -fsanitize=address,undefined)
endif()
if(XENOLITH_COVERAGE)
  target_compile_options(xenolith_settings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:--coverage>)
  target_link_options(xenolith_settings INTERFACE --coverage)
endif()
if(XENOLITH_BUILD_FUZZERS)
  add_custom_target(fuzzers)
  target_compile_options(xenolith_settings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# xenolith_library(NAME SOURCES file... [LINK target...]): one static library per folder.
function(xenolith_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC xenolith_settings ${ARG_LINK})
endfunction()

# xenolith_test(NAME SOURCES file... [LINK target...]): one GoogleTest program, every test case its own CTest entry.
function(xenolith_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE xenolith_settings ${ARG_LINK} GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60)
endfunction()

# xenolith_fuzzer(NAME SOURCES file... [LINK target...] [SEED_SOURCES file...]): one libFuzzer program, fuzzers/NAME below
# the build folder. With seeds, a program NAME_seeds beside it fills the folder named on its command line with a first
# corpus. The target `fuzzers` builds them all; tools/test runs what it finds there.
function(xenolith_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;SEED_SOURCES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set(programs ${name})
  if(ARG_SEED_SOURCES)
    add_executable(${name}_seeds ${ARG_SEED_SOURCES})
    # What it links is instrumented for the fuzzer, so it needs the fuzzer's runtime, without its main().
    target_link_options(${name}_seeds PRIVATE -fsanitize=fuzzer-no-link)
    list(APPEND programs ${name}_seeds)
  endif()
  foreach(program IN LISTS programs)
    target_link_libraries(${program} PRIVATE xenolith_settings ${ARG_LINK})
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzzers)
    add_dependencies(fuzzers ${program})
  endforeach()
endfunction()
