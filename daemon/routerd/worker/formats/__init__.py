"""What models write around their answers: reasoning, tool calls, channels; one table of families."""
