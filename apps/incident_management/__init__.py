"""Handle an incident of a real service: observe, explain, mend with approval. See README.md."""
