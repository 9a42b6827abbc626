"""The stage loop: SMPLify and its kin."""
