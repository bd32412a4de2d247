"""Output formats of models: how each family marks reasoning, tool calls and channels, in one table."""
