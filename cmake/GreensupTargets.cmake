# The two ways a target is made here: greensup_library() and greensup_test().
# Flags are private to our targets; whoever uses the libraries keeps his own.
include(GNUInstallDirs)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(GREENSUP_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor -Wundef)
option(GREENSUP_WERROR "Treat warnings as errors (set by the presets)" OFF)
set(GREENSUP_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined")

find_package(Threads REQUIRED)

function(greensup_flags target)
    target_compile_features(${target} PUBLIC cxx_std_20)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    target_compile_options(${target} PRIVATE ${GREENSUP_WARNINGS} $<$<BOOL:${GREENSUP_WERROR}>:-Werror>)
    # GCC collects its garbage from half a gigabyte on: a tenth less time, and no more memory at the worst.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=500000>)
    if(GREENSUP_SANITIZE)
        # GCC takes instrumented library code for uninitialised (its bug 105562).
        target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
        target_compile_options(${target} PUBLIC -fsanitize=${GREENSUP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
        target_link_options(${target} PUBLIC -fsanitize=${GREENSUP_SANITIZE})
    endif()
endfunction()

# greensup_read_once(target <vector> ...): headers that nearly all of many sources include. Under sanitizers only, where
# the compiler's time is most: an ordinary build shows who has forgotten an include.
function(greensup_read_once target)
    if(GREENSUP_SANITIZE)
        target_precompile_headers(${target} PRIVATE ${ARGN})
    endif()
endfunction()
set(GREENSUP_USUAL_HEADERS <algorithm> <array> <chrono> <functional> <map> <memory> <optional> <string> <vector>)

# greensup_library(core SOURCES a.cpp ... [PUBLIC lib ...] [PRIVATE lib ...])
# makes the target green_core with the alias green::core; headers in ./include are public, ./src is private.
function(greensup_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
    add_library(green_${name} ${ARG_SOURCES})
    add_library(green::${name} ALIAS green_${name})
    set_target_properties(green_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
    target_include_directories(green_${name}
        PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
        PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
    target_link_libraries(green_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
    greensup_flags(green_${name})
    greensup_read_once(green_${name} ${GREENSUP_USUAL_HEADERS})
endfunction()

# greensup_program(web SOURCES web.cpp [LIBRARIES lib ...]); the program lands in bin/
function(greensup_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
    target_link_options(${name} PRIVATE -rdynamic) # reports name functions by dladdr
    greensup_flags(${name})
endfunction()

# greensup_schema(target [PREFIX green/ipc] FILES a.capnp ...): compiles Cap'n Proto schemas into the target, whose
# users include them as <PREFIX/a.capnp.h>.
function(greensup_schema target)
    cmake_parse_arguments(ARG "" "PREFIX" "FILES" ${ARGN})
    set(root ${CMAKE_CURRENT_BINARY_DIR}/schema)
    foreach(file IN LISTS ARG_FILES)
        get_filename_component(name ${file} NAME)
        get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR}/${file} DIRECTORY)
        set(output ${root}/${ARG_PREFIX}/${name})
        file(MAKE_DIRECTORY ${root}/${ARG_PREFIX})
        add_custom_command(
            OUTPUT ${output}.c++ ${output}.h
            COMMAND capnp compile -oc++:${root}/${ARG_PREFIX} --src-prefix=${folder} ${CMAKE_CURRENT_SOURCE_DIR}/${file}
            DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file}
            VERBATIM)
        target_sources(${target} PRIVATE ${output}.c++ ${output}.h)
        set_source_files_properties(${output}.c++ PROPERTIES COMPILE_OPTIONS -w)
    endforeach()
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "EXECUTABLE")
        target_include_directories(${target} SYSTEM PRIVATE ${root})
    else()
        target_include_directories(${target} SYSTEM PUBLIC $<BUILD_INTERFACE:${root}>)
    endif()
endfunction()
