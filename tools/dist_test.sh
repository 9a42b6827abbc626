#!/usr/bin/env bash
# Test on N devices: tools/dist_test.sh CONFIG CHECKPOINT N [arguments of test.py]
# More machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail

CONFIG=${1:?CONFIG}
CHECKPOINT=${2:?CHECKPOINT}
N=${3:?N}
shift 3

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$N" \
    "$HERE/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
