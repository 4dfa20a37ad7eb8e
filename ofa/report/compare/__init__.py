"""Several runs side by side: what was the same, what differed, and which differences are more than chance."""
