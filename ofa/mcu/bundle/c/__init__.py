"""What is copied into every bundle as it is, in C."""
