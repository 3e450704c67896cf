"""What RDB bytes mean: no file, no socket, no clock, no environment."""
