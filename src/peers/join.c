/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* dladdr */

#include "peers/launcher.h"
#include "peers/transport.h"

#include "status.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_MAX_HERE = 4096 };

/* Where modules lie as seen from the file that holds this code: a shared library, or a program that it is part of. */
static const char *const beside[] = {"ldar", "lib/ldar", "../" LDAR_LIBDIR "/ldar"};

const char *ldar_peers_launcher(void)
{
    return ldar_launcher_find().name;
}

/* The path of a module; 0 when there is none. */
static int find(const char *module, char path[PATH_MAX_HERE])
{
    Dl_info here;
    static const char anchor = 0;
    if (dladdr(&anchor, &here) && here.dli_fname) {
        const char *slash = strrchr(here.dli_fname, '/');
        const int folder = slash ? (int)(slash - here.dli_fname) : 1;
        for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
            const int length =
                snprintf(path, PATH_MAX_HERE, "%.*s/%s/%s", folder, slash ? here.dli_fname : ".", beside[i], module);
            if (length > 0 && length < PATH_MAX_HERE && !access(path, R_OK))
                return 1;
        }
    }
    snprintf(path, PATH_MAX_HERE, "%s/%s", LDAR_MODULE_DIR, module);
    return !access(path, R_OK);
}

/*
 * The module stays until the process ends: an MPI does not survive being unloaded. Its symbols are made known to all,
 * because the parts that an MPI opens itself look for them there.
 */
static enum ldar_status open_module(const char *path, const struct ldar_transport **transport, struct ldar_error *error)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!module)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "cannot open the module for MPI: %s", dlerror());
    *transport = dlsym(module, LDAR_TRANSPORT_SYMBOL);
    if (!*transport || (*transport)->version != LDAR_TRANSPORT_VERSION)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED, "%s is no module of this version of ldar", path);
    return LDAR_OK;
}

enum ldar_status ldar_peers_join(const struct ldar_peers_options *options, ldar_peers **peers, struct ldar_error *error)
{
    static const struct ldar_peers_options none = {.size = sizeof none};
    char path[PATH_MAX_HERE];
    const struct ldar_transport *transport = NULL;
    if (!peers)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "no place for the peers");
    *peers = NULL;
    options = options ? options : &none;
    if (options->size != sizeof *options)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "struct ldar_peers_options has %zu bytes here, not %zu",
                         sizeof *options, options->size);
    const struct ldar_launcher launcher = ldar_launcher_find();
    if (!options->module && (!launcher.name || launcher.alone))
        return LDAR_OK;
    if (!options->module && !find(launcher.module, path))
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED,
                         "started by %s (%s is set), but there is no %s: ldar was built without that MPI",
                         launcher.name, launcher.mark, path);
    const enum ldar_status status = open_module(options->module ? options->module : path, &transport, error);
    return status == LDAR_OK ? ldar_peers_open(transport, NULL, options, peers, error) : status;
}
