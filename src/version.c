/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/version.h>

#define TEXT(number) #number
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *ldar_version(void)
{
    return VERSION(LDAR_VERSION_MAJOR, LDAR_VERSION_MINOR, LDAR_VERSION_PATCH);
}
