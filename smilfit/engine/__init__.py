"""mmengine glue: hooks, optimiser wrappers, the runner."""
