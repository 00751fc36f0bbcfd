# The two functions that the folders' CMakeLists.txt call.

function(cowvet_join target joined)
  if(joined AND COWVET_JOIN)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    # A local name may be a global one of another file, and a file's own types look to g++ as if others could see them.
    target_compile_options(${target} PRIVATE -Wno-shadow $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()

# cowvet_library(NAME [DEPENDS room…] [PRIVATE target…] [EXCEPT file…] [JOINED])
# Makes the room's library cowvet_NAME from all its .cpp files (headers only: an INTERFACE library).
# DEPENDS names lower rooms, PRIVATE the third-party targets that this room alone includes, EXCEPT files left out.
# JOINED rooms may be compiled several files at a time (COWVET_JOIN): no two of their files give one name to two things.
function(cowvet_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "JOINED" "" "DEPENDS;PRIVATE;EXCEPT")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(file IN LISTS arg_EXCEPT)
    list(FILTER sources EXCLUDE REGEX "/${file}$")
  endforeach()
  set(target cowvet_${name})
  if(sources)
    add_library(${target} STATIC ${sources})
    cowvet_join(${target} ${arg_JOINED})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE ${arg_PRIVATE})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
    target_link_libraries(${target} INTERFACE ${arg_PRIVATE})
  endif()
  foreach(room IN LISTS arg_DEPENDS)
    if(TARGET cowvet_${room})
      target_link_libraries(${target} ${scope} cowvet_${room})
    endif()
  endforeach()
  target_link_libraries(${target} ${scope} cowvet::fmt)
endfunction()

# cowvet_test(FOLDER [DEPENDS room…] [LIBRARIES target…] [TIMEOUT seconds] [PARTS n] [JOINED])
# Makes the test program test_FOLDER from all .cpp files of tests/FOLDER (tests are in NAME_test.cpp, helpers in
# other files) and registers each of its tests with ctest; every NAME_test.py becomes one ctest entry.
# PARTS deals the program's tests out to n entries instead: for hundreds of tests that are shorter than a process's start.
# All tests see COWVET (the binary), COWVET_CORPUS (the corpus tool), COWVET_SOURCE_DIR and COWVET_BUILD_DIR
# in their environment, and COWVET_LONG=1 under `tools/test --long`.
function(cowvet_test folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "JOINED" "TIMEOUT;PARTS" "DEPENDS;LIBRARIES")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set(directory ${PROJECT_SOURCE_DIR}/tests/${folder})
  # The quarantine of freed memory is 256 MiB otherwise: a quarter of the engine tests' time went into fresh pages for it.
  set(environment COWVET=${PROJECT_BINARY_DIR}/cli/cowvet COWVET_CORPUS=${PROJECT_BINARY_DIR}/corpus/cowvet-corpus
                  COWVET_SOURCE_DIR=${PROJECT_SOURCE_DIR} COWVET_BUILD_DIR=${PROJECT_BINARY_DIR}
                  ASAN_OPTIONS=quarantine_size_mb=16)

  file(GLOB scripts CONFIGURE_DEPENDS ${directory}/*_test.py)
  foreach(script IN LISTS scripts)
    cmake_path(GET script STEM stem)
    add_test(NAME ${folder}.${stem} COMMAND python3 ${script})
    set_tests_properties(${folder}.${stem} PROPERTIES
      ENVIRONMENT "${environment}" TIMEOUT ${arg_TIMEOUT} LABELS ${folder} SKIP_RETURN_CODE 77)
  endforeach()

  file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.cpp)
  if(NOT sources)
    return()
  endif()
  set(target test_${folder})
  add_executable(${target} ${sources})
  cowvet_join(${target} ${arg_JOINED})
  target_compile_definitions(${target} PRIVATE COWVET_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE -Wno-dangling-else)  # of GoogleTest's macros behind an if
  foreach(room IN LISTS arg_DEPENDS)
    if(TARGET cowvet_${room})
      target_link_libraries(${target} PRIVATE cowvet_${room})
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} cowvet::fmt rapidcheck rapidcheck_gtest GTest::gtest_main)
  if(arg_PARTS)
    math(EXPR last "${arg_PARTS} - 1")
    foreach(part RANGE ${last})
      math(EXPR number "${part} + 1")
      set(name ${folder}.part_${number}_of_${arg_PARTS})
      add_test(NAME ${name} COMMAND ${target} --gtest_brief=1)
      set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS ${folder}
        ENVIRONMENT "${environment};GTEST_TOTAL_SHARDS=${arg_PARTS};GTEST_SHARD_INDEX=${part}")
    endforeach()
  else()
    gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX "${folder}."
      PROPERTIES ENVIRONMENT "${environment}" TIMEOUT ${arg_TIMEOUT} LABELS ${folder})
  endif()
endfunction()
