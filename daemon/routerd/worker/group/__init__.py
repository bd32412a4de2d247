"""A worker whose model is divided over several machines.

Inside it `mlx.launch` runs mlx-lm's own server, one rank a machine; to the daemon it is a worker
like any other, and nobody else ever speaks to that server.
"""
