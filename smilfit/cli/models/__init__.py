"""`smilfit model COMMAND`: what one does with a rigged model before and after fits."""
