# CMake package of sparsec: compiles ONNX models as a part of the build.
#
#   find_package(sparsec REQUIRED)
#   sparsec_add_model(digits digits.onnx)
#   target_link_libraries(program PRIVATE digits)
#
# sparsec_add_model(TARGET MODEL [SHARED] [NAME name] [CPU cpu] [TRIPLE triple] [DIMS batch=1 ...] [OPTIONS ...])
#   compiles MODEL when it has changed, and makes the library target TARGET of it. Whatever links TARGET sees the header
#   NAME.h and the C++ wrapper <sparsec/sparsec.hpp>. NAME, the prefix of the model's functions, is TARGET as an identifier
#   where it is not given. CPU is the compiler's default (the CPU of the building machine) where it is not given. OPTIONS are
#   passed on to `sparsec compile`.
#
# SPARSEC_EXECUTABLE, a cache variable, is the command.

get_filename_component(_sparsec_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_program(SPARSEC_EXECUTABLE sparsec
    HINTS "${_sparsec_prefix}/bin" ENV CARGO_HOME PATH_SUFFIXES bin
    DOC "The compiler of sparsec")
if(NOT SPARSEC_EXECUTABLE)
    find_program(SPARSEC_EXECUTABLE sparsec HINTS "$ENV{HOME}/.cargo/bin")
endif()
if(NOT SPARSEC_EXECUTABLE)
    set(sparsec_FOUND FALSE)
    set(sparsec_NOT_FOUND_MESSAGE "The command sparsec is not on the PATH; set SPARSEC_EXECUTABLE.")
    return()
endif()

if(NOT TARGET sparsec::cpp)
    add_library(sparsec::cpp INTERFACE IMPORTED GLOBAL)
    set_target_properties(sparsec::cpp PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_sparsec_prefix}/include")
endif()

function(sparsec_add_model target model)
    cmake_parse_arguments(PARSE_ARGV 2 ARG "SHARED" "NAME;CPU;TRIPLE" "DIMS;OPTIONS")
    if(ARG_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "sparsec_add_model: unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
    endif()
    if(NOT ARG_NAME)
        string(MAKE_C_IDENTIFIER "${target}" ARG_NAME)
    endif()
    get_filename_component(model "${model}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
    if(NOT EXISTS "${model}")
        message(FATAL_ERROR "sparsec_add_model: there is no model ${model}")
    endif()

    set(folder "${CMAKE_CURRENT_BINARY_DIR}/sparsec/${target}")
    # CMake wants folders of headers to exist before anything is built.
    file(MAKE_DIRECTORY "${folder}")
    if(ARG_SHARED)
        set(kind SHARED)
        set(emit shared)
        set(library "${folder}/lib${ARG_NAME}.so")
    else()
        set(kind STATIC)
        set(emit static)
        set(library "${folder}/lib${ARG_NAME}.a")
    endif()

    set(arguments --name "${ARG_NAME}" --emit "${emit},header" -o "${folder}")
    if(ARG_CPU)
        list(APPEND arguments --cpu "${ARG_CPU}")
    endif()
    if(ARG_TRIPLE)
        list(APPEND arguments --triple "${ARG_TRIPLE}")
    endif()
    foreach(dim IN LISTS ARG_DIMS)
        list(APPEND arguments --dim "${dim}")
    endforeach()

    add_custom_command(
        OUTPUT "${library}" "${folder}/${ARG_NAME}.h"
        COMMAND "${SPARSEC_EXECUTABLE}" compile "${model}" ${arguments} ${ARG_OPTIONS}
        DEPENDS "${model}" "${SPARSEC_EXECUTABLE}"
        COMMENT "Compiling ${ARG_NAME} with sparsec"
        VERBATIM)
    add_custom_target("${target}_compile" DEPENDS "${library}" "${folder}/${ARG_NAME}.h")
    add_library("${target}" ${kind} IMPORTED GLOBAL)
    set_target_properties("${target}" PROPERTIES
        IMPORTED_LOCATION "${library}"
        INTERFACE_INCLUDE_DIRECTORIES "${folder}"
        INTERFACE_LINK_LIBRARIES sparsec::cpp)
    add_dependencies("${target}" "${target}_compile")
endfunction()
