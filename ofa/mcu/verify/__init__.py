"""A bundle built and run on an emulated board: the same outputs, in the memory and instructions that were predicted."""

from ofa.mcu.verify.verify import Claim, Verification, verify_bundle

__all__ = ["Claim", "Verification", "verify_bundle"]
