"""Who may answer: pure functions over a compiled table, a request and a `View` of the backends."""
