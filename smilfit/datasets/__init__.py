"""The HDF5 store, samplers, transforms, preprocessing."""
