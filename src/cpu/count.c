/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sched_getaffinity */

#include <ldar/cpu.h>

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* CPUs by quota of a cgroup v2 or v1 file of "quota period" or "quota"; 0 where there is none. */
static int quota(const char *quota_path, const char *period_path)
{
    char text[64] = "";
    long limit = -1, period = 100000;
    FILE *file = fopen(quota_path, "r");
    if (!file)
        return 0;
    int fields = fgets(text, sizeof text, file) ? sscanf(text, "%ld %ld", &limit, &period) : 0;
    fclose(file);
    if (fields == 1 && period_path && (file = fopen(period_path, "r"))) {
        if (fscanf(file, "%ld", &period) != 1)
            period = 100000;
        fclose(file);
    }
    return fields >= 1 && limit > 0 && period > 0 ? (int)((limit + period - 1) / period) : 0;
}

int ldar_cpu_count(void)
{
    cpu_set_t set;
    /* The mask does not fit on machines of more than 1,024 CPUs. */
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int limit = quota("/sys/fs/cgroup/cpu.max", NULL);
    if (!limit)
        limit = quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (limit && limit < count)
        count = limit;
    return count > 0 ? count : 1;
}
