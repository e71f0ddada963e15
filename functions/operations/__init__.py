"""What an operator asks of a deployment: start and redrive scans, and read what they recorded. Not deployed."""
