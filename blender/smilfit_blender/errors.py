"""What went wrong, in words for the user."""


class AddonError(Exception):
    """Something that the user can put right; the message says what must be so, what is, and what to do."""
