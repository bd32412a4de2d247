"""The owner of model processes: when each is started, how long it stays, and that none is left behind."""
