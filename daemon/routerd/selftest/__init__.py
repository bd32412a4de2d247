"""The fault wall: stand-ins that go wrong in every known way, and what a caller must get all the same."""
