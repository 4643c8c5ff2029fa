#!/bin/sh
# One seed a job, with no scheduler of our own: a Slurm array over seeds.
#
#   sbatch --array=2-6 book/array.sh --profile cpu --store /shared/store
#
# What follows the script's name is given to kdnb run. A job that runs into its time limit, or is preempted, goes on from its last
# whole epoch when it is submitted again; what other jobs need as well (a pretrained origin) is trained by one of them, and
# the others wait for it.
#SBATCH --job-name=kdnb
#SBATCH --array=0-4
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=kdnb-%A_%a.log
set -eu
: "${SLURM_ARRAY_TASK_ID:?is the seed: submit this script with sbatch --array=0-4}"
exec kdnb run --seeds "$SLURM_ARRAY_TASK_ID" --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
