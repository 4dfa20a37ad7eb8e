"""Arm's Ethos-U NPUs, through their compiler."""
