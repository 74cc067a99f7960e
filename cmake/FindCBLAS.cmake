# SPDX-License-Identifier: Apache-2.0
# A CBLAS -> CBLAS::CBLAS: OpenBLAS by preference, else whatever the system calls cblas or blas.
find_package(PkgConfig QUIET)
pkg_search_module(CBLAS_MODULE QUIET IMPORTED_TARGET openblas cblas blas)
find_path(CBLAS_INCLUDE_DIR cblas.h HINTS ${CBLAS_MODULE_INCLUDE_DIRS})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CBLAS REQUIRED_VARS CBLAS_MODULE_LIBRARIES CBLAS_INCLUDE_DIR
                                  VERSION_VAR CBLAS_MODULE_VERSION)
mark_as_advanced(CBLAS_INCLUDE_DIR)

if(CBLAS_FOUND AND NOT TARGET CBLAS::CBLAS)
  add_library(CBLAS::CBLAS INTERFACE IMPORTED)
  set_target_properties(CBLAS::CBLAS PROPERTIES INTERFACE_LINK_LIBRARIES PkgConfig::CBLAS_MODULE
                        INTERFACE_INCLUDE_DIRECTORIES "${CBLAS_INCLUDE_DIR}")
endif()
