# SPDX-License-Identifier: Apache-2.0
# Every MPI that is installed, where FindMPI has one: MPIModules_FLAVOURS is a list of openmpi and mpich, each with a
# target MPI::<flavour> and its launcher in MPIModules_<flavour>_LAUNCHER.
set(MPIModules_FLAVOURS "")

# The compiler of any MPI says what it would run: -I, -L and -l are all that a C program needs.
function(ldar_mpi_target flavour compiler)
  execute_process(COMMAND "${compiler}" -show OUTPUT_VARIABLE command RESULT_VARIABLE failed ERROR_QUIET
                  OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed)
    return()
  endif()
  separate_arguments(command UNIX_COMMAND "${command}")
  set(includes ${command})
  set(links ${command})
  list(FILTER includes INCLUDE REGEX "^-I")
  list(FILTER links INCLUDE REGEX "^-(L|l|Wl,-rpath)")
  list(TRANSFORM includes REPLACE "^-I" "")
  add_library(MPI::${flavour} INTERFACE IMPORTED)
  set_target_properties(MPI::${flavour} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}"
                        INTERFACE_LINK_LIBRARIES "${links}")
endfunction()

# A compiler that is called mpicc alone may be of either; its header says so.
function(ldar_mpi_flavour compiler result)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/which-mpi.c")
  file(WRITE "${source}" "#include <mpi.h>\n#ifdef OPEN_MPI\nopenmpi\n#elif defined(MPICH_VERSION)\nmpich\n#endif\n")
  execute_process(COMMAND "${compiler}" -E -P "${source}" OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "(openmpi|mpich)[ \n]*$" flavour "${text}")
  string(STRIP "${flavour}" flavour)
  set(${result} "${flavour}" PARENT_SCOPE)
endfunction()

if(NOT CMAKE_CROSSCOMPILING)
  foreach(suffix .openmpi .mpich "")
    string(REPLACE "." "_" name "MPIModules_MPICC${suffix}")
    find_program(${name} "mpicc${suffix}")
    find_program(${name}_RUN NAMES "mpirun${suffix}" "mpiexec${suffix}")
    mark_as_advanced(${name} ${name}_RUN)
    if(NOT ${name})
      continue()
    endif()
    ldar_mpi_flavour("${${name}}" flavour)
    if(flavour AND NOT TARGET MPI::${flavour})
      ldar_mpi_target(${flavour} "${${name}}")
      if(TARGET MPI::${flavour})
        list(APPEND MPIModules_FLAVOURS ${flavour})
        set(MPIModules_${flavour}_LAUNCHER "${${name}_RUN}")
      endif()
    endif()
  endforeach()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MPIModules REQUIRED_VARS MPIModules_FLAVOURS)
