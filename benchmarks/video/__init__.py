"""Videos of which some frames are labelled."""
