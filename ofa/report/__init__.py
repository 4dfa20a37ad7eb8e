"""What a run found out, as one page for people, one JSON file for programs and one table for the terminal."""
