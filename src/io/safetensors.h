/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_SAFETENSORS_H
#define LDAR_IO_SAFETENSORS_H

#include <ldar/tensors.h>

/* ldar_tensors_open for a file that is already in memory, which stays the caller's and must outlive *tensors. */
enum ldar_status ldar_tensors_open_memory(const char *name, const void *data, size_t bytes, size_t max_header,
                                          ldar_tensors **tensors, struct ldar_error *error);

/* LDAR_ERROR_IO when the file has become shorter than its mapping: touching the rest would be a SIGBUS. */
enum ldar_status ldar_tensors_recheck(const ldar_tensors *tensors, struct ldar_error *error);

/* Lets go of the resident pages of a mapped file: what is read again comes back from the page cache. */
void ldar_tensors_release_pages(const ldar_tensors *tensors);

/*
 * The same for the whole pages of data[0..bytes), which need not be the file's: memory elsewhere is left alone. Others
 * may read meanwhile.
 */
void ldar_tensors_release_range(const ldar_tensors *tensors, const void *data, size_t bytes);

/* The name that it was opened by. */
const char *ldar_tensors_path(const ldar_tensors *tensors);

/* Bytes of the whole file. */
size_t ldar_tensors_file_bytes(const ldar_tensors *tensors);

#endif
