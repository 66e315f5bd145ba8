#!/bin/sh
# Measure a cohort as a SLURM array: many tasks at once, each with ten subjects.
#
#     sbatch --array=0-41 cohort_array.sh INPUT OUTPUT  # 42 tasks for 416 subjects
#     sbatch --dependency=afterany:JOBID \
#         --wrap "python -m helpers.cohort INPUT OUTPUT group"
#
# Activate the course's Python environment first. Run the same again after a failure:
# what is done stays done.
#SBATCH --job-name=cohort
#SBATCH --cpus-per-task=1
#SBATCH --mem=2G
#SBATCH --time=00:15:00
set -eu
input=$1
output=$2
: "${SLURM_ARRAY_TASK_ID:?is not set; submit with --array, as shown above}"
per_task=10

# The labels stand in the first column, under one line of heading.
first=$((SLURM_ARRAY_TASK_ID * per_task + 2))
last=$((first + per_task - 1))
labels=$(sed -n "${first},${last}p" "$input/participants.tsv" | cut -f 1)
[ -n "$labels" ] || exit 0

# shellcheck disable=SC2086 # one word for each label
exec python -m helpers.cohort "$input" "$output" participant \
    --participant-label $labels
