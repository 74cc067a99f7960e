/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_EXPORT_H
#define LDAR_EXPORT_H

#if defined(LDAR_STATIC) || !defined(__GNUC__)
#define LDAR_API
#else
#define LDAR_API __attribute__((visibility("default")))
#endif

/* A result that says whether the call worked must be looked at. */
#if defined(__GNUC__)
#define LDAR_MUST_USE __attribute__((warn_unused_result))
#else
#define LDAR_MUST_USE
#endif

#ifdef __cplusplus
#define LDAR_BEGIN_DECLS extern "C" {
#define LDAR_END_DECLS }
#else
#define LDAR_BEGIN_DECLS
#define LDAR_END_DECLS
#endif

#endif
