"""From a decision to an answer: the attempts, what may be released, and how it all ends."""
