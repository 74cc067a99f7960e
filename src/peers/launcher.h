/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_LAUNCHER_H
#define LDAR_PEERS_LAUNCHER_H

/* A launcher that started this process, as the marks in the environment tell. */
struct ldar_launcher {
    const char *name;   /* for a person */
    const char *module; /* file of the module that speaks its protocol */
    const char *mark;   /* the variable that gave it away */
    int alone;          /* it started this process and no other */
};

/* name is NULL where there is none. */
struct ldar_launcher ldar_launcher_find(void);

#endif
