"""Which subnets a step trains, and what they share."""
