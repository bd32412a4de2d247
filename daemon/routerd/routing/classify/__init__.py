"""How much a request asks of a model: rules, keywords, and a scorer that learns. Pure functions of text."""
