"""What a model reference is, where its files are, and how they come there. Nothing here imports mlx."""
