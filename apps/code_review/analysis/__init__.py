"""The analysers: each takes one changed file, or the change, and returns findings. None runs git."""
