"""The composition root: builds everything, owns the generation, the task group and the signals."""
