/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/launcher.h"

#include <stdlib.h>
#include <string.h>

/*
 * Which MPI a process must speak is known to its launcher alone. mpirun of Open MPI marks its processes by a name of
 * its own; those of MPICH and its kin, and srun --mpi=pmi2, offer PMI; srun --mpi=pmix offers PMIx, which every Open
 * MPI understands and few others do. More particular marks come first: Open MPI's mpirun offers PMIx as well.
 */
static const struct {
    const char *mark, *size, *name, *module;
} launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "mpirun of Open MPI", "ldar-mpi-openmpi.so"},
    {"PMI_SIZE", "PMI_SIZE", "a launcher with PMI, as of MPICH", "ldar-mpi-mpich.so"},
    {"PMIX_RANK", "SLURM_STEP_NUM_TASKS", "a launcher with PMIx", "ldar-mpi-openmpi.so"},
};

struct ldar_launcher ldar_launcher_find(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        if (!getenv(launchers[i].mark))
            continue;
        const char *size = getenv(launchers[i].size);
        return (struct ldar_launcher){
            .name = launchers[i].name,
            .module = launchers[i].module,
            .mark = launchers[i].mark,
            .alone = size && !strcmp(size, "1"),
        };
    }
    return (struct ldar_launcher){0};
}
