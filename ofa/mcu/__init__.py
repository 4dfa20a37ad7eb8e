"""Quantised networks for microcontrollers: quantise, evaluate in integers, bundle, verify."""
