// SPDX-License-Identifier: Apache-2.0
//
// A command of ldar in N parts at the same time, merged to what one run writes, to the byte.
//
//   include { LDAR } from './ldar.nf'
//
//   workflow {
//       LDAR('segment', '-f genome.fa', channel.fromPath('genome.fa*').collect(), 40, 'tokens.bed')
//   }
//
// The options name files as they are called here, without a folder: all of `inputs` lie beside one another where a shard
// is computed. That goes for a model of your own (-m) and for the index of a genome (genome.fa.fai), which every shard
// would make anew if it did not find it. Options are those of the command, -o, -@ and --shard excepted. `out` is a
// file's name, or of `scan` the prefix of several.
//
// Parts of processors with other instruction sets do not merge: where machines differ, set LDAR_ISA to the same for all
// of them (process.containerOptions, or env.LDAR_ISA in nextflow.config).

nextflow.enable.dsl = 2

process SHARD {
    tag "${command} ${shard}/${shards}"
    cpus 4
    memory 8.GB

    input:
    tuple val(command), val(options), val(shard), val(shards)
    path inputs

    output:
    path "part-${shard}"

    script:
    """
    ldar ${command} ${options} -@ ${task.cpus} --shard ${shard}/${shards} -o part-${shard}
    """
}

process MERGE {
    tag "${out}"
    memory 2.GB

    input:
    path parts
    val out

    output:
    path "${out}*"

    script:
    """
    ldar merge ${parts} -o ${out}
    """
}

workflow LDAR {
    take:
    command
    options
    inputs
    shards
    out

    main:
    work = channel.of(1..shards).map { shard -> tuple(command, options, shard, shards) }
    SHARD(work, inputs)
    MERGE(SHARD.out.collect(), out)

    emit:
    MERGE.out
}
