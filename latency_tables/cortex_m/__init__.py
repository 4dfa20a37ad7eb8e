"""Cortex-M microcontrollers: int8 kernels in C, whole networks as calls of them, and their instructions counted under
emulation.
"""
