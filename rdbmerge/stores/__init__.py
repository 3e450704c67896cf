"""Where objects lie: S3 and what speaks like it. Moves bytes and knows nothing of what they mean."""
