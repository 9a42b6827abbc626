#!/usr/bin/env bash
# Train on N devices: tools/dist_train.sh CONFIG N [arguments of train.py]
# More machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail

CONFIG=${1:?CONFIG}
N=${2:?N}
shift 2

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$N" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "$@"
