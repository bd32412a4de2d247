"""routerd: a local model router that owns its model processes and can say why it chose what it chose."""

__version__ = "0.1.0"
