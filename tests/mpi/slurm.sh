#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# slurm.sh: scripts/slurm/pretrain.sbatch among stand-ins for srun, scancel and scontrol: begin or resume, requeue after
# the warning, and no requeue after an end or a failure.
set -eu
script=$LDAR_SOURCE_DIR/scripts/slurm/pretrain.sbatch
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/run"

# The step: says how it was called, then waits for the signal, or ends with the status that it is told.
cat >"$work/bin/srun" <<'END'
#!/bin/sh
echo "$*" >"$WORK/srun"
[ -z "$STATUS" ] || exit "$STATUS"
trap 'touch "$WORK/terminated"; exit 143' TERM
echo $$ >"$WORK/step"
while [ -e "$WORK" ]; do sleep 1; done # a test that fails takes the folder with it
END
cat >"$work/bin/scancel" <<'END'
#!/bin/sh
[ "$*" = "--signal=TERM 7.0" ] && kill -TERM "$(cat "$WORK/step")"
END
cat >"$work/bin/scontrol" <<'END'
#!/bin/sh
echo "$*" >"$WORK/scontrol"
END
chmod +x "$work"/bin/*

job() { # STATUS OPTION...: runs the job in the background; its process is $job
    status=$1
    shift
    rm -f "$work/srun" "$work/scontrol" "$work/terminated" "$work/step"
    WORK=$work STATUS=$status SLURM_JOB_ID=7 SLURM_CPUS_PER_TASK=3 PATH=$work/bin:$PATH sh "$script" "$@" >"$work/log" &
    job=$!
}

expect() { # WHAT COMMAND...
    what=$1
    shift
    "$@" || {
        echo "not so: $what"
        exit 1
    }
}

called() {
    grep -q -- "$1" "$work/srun"
}

job 0 "$work/run" --preset 2m a.fa
wait "$job"
expect "a run begins" called "ldar pretrain --preset 2m a.fa -o $work/run -@ 3\$"
expect "no requeue after the end" test ! -e "$work/scontrol"

touch "$work/run/run.json"
job '' "$work/run" --preset 2m a.fa
while [ ! -e "$work/step" ]; do sleep 0.1; done
kill -USR1 "$job"
expect "an interrupted job is none that failed" wait "$job"
expect "a run is resumed" called "ldar pretrain --resume $work/run -@ 3\$"
expect "the step was asked to end" test -e "$work/terminated"
expect "the job is requeued" grep -qx 'requeue 7' "$work/scontrol"

job 5 "$work/run"
status=0
wait "$job" || status=$?
expect "a failure is one" test "$status" -eq 5
expect "no requeue after a failure" test ! -e "$work/scontrol"
