"""Commands that make and look at datasets, and the cameras that they are made with."""
