#!/bin/bash
# One training by one worker per node, on Slurm:  sbatch slurm.sh
# The folder where it is submitted has din-train.yaml, and lies on storage that all nodes share.
#SBATCH --job-name=din-train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
set -euo pipefail

# Five minutes before the time is up, SIGTERM makes the workers save their state. Submitted again, the job goes on.
port=$((20000 + SLURM_JOB_ID % 10000))
addresses=$(for host in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do printf '"%s:%s",' "$host" "$port"; done)
export WORKERS="[${addresses%,}]"

srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": $WORKERS}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  exec din-train fit --config din-train.yaml --set training.strategy=multi_worker --resume
'
