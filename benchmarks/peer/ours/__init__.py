"""This project's side."""
