# SPDX-License-Identifier: Apache-2.0
# libBigWig -> BigWig::BigWig. It ships no pkg-config file.
find_path(BIGWIG_INCLUDE_DIR bigWig.h)
find_library(BIGWIG_LIBRARY BigWig)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BigWig REQUIRED_VARS BIGWIG_LIBRARY BIGWIG_INCLUDE_DIR)
mark_as_advanced(BIGWIG_INCLUDE_DIR BIGWIG_LIBRARY)

if(BigWig_FOUND AND NOT TARGET BigWig::BigWig)
  add_library(BigWig::BigWig UNKNOWN IMPORTED)
  # NOCURL: its headers then do without curl's; the types keep their layout, and remote files are not opened here.
  set_target_properties(BigWig::BigWig PROPERTIES IMPORTED_LOCATION "${BIGWIG_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${BIGWIG_INCLUDE_DIR}" INTERFACE_COMPILE_DEFINITIONS NOCURL)
endif()
