"""The child process that runs one model. The daemon spawns it and speaks `routerd.wire` with it."""
