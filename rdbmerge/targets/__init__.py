"""What is to receive a data set. Knows what it can hold and how it is asked for, not where the data comes from."""
