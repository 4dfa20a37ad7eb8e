"""From a chosen architecture to files that run without this project, checked against each other on real images."""
