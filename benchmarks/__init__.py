"""Side-by-side measurements against peers; run as modules from the repository's root.

One thread: BLAS reads its number of threads when it is loaded, so it is set here, before anything is imported.
Threads that wait for each other on a busy machine would count as CPU time: numpy's small products took 200 times as
much.
"""

import os

for _name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(_name, '1')
