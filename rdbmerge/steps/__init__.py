"""The use cases, one module each: the only layer that sees both ends of the pipeline."""
