"""The HDF5 store: what a dataset file holds, how it is written and read."""
