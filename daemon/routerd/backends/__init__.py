"""Places that can answer a chat. One file a kind; each translates once from the canonical chat."""
