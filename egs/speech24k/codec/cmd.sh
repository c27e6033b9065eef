# shellcheck shell=bash
# Where jobs run: recipes/utils/run.sh is this machine, recipes/utils/slurm.sh a Slurm cluster (its partition, account and
# time limit come from SBATCH_PARTITION, SBATCH_ACCOUNT and SBATCH_TIMELIMIT).
export TRAIN_CMD=$RECIPES/utils/run.sh  # stage 2
export JOB_CMD=$RECIPES/utils/run.sh    # stages 3 to 5
